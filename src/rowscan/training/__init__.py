"""Training: from data and a recipe to a model file. Reading never imports this package."""

import os

# Read when torch loads OpenMP. Threads that spin at barriers take the time of other programs, and
# of the threads they wait for: beside four busy loops a training took 12 times as long as alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
