"""Every public function of minissl in a small call that works, with what each argument is; a file for each room."""

from calls import goals, linear, nn, tasks, views
from calls.table import ROWS, Row

__all__ = ["ROWS", "Row", "goals", "linear", "nn", "tasks", "views"]
