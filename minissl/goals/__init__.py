"""What it is for. The lecture names four goals of learning without labels:

1. features for later, supervised tasks with few labels (probe);
2. underlying structure: latent variables, groups (ica, clustering);
3. a model of the probability density (densities, nce, score_matching, vae);
4. sampling: new data (langevin, gan).
"""
