"""Projections of thorax CT: real bones, vessels and hearts as an `Anatomy`.

`files` and `dicom` find volumes in any folder and put them on one grid, `tissue` tells bone, soft tissue, lung and what
is not the patient apart, `pose` draws how the patient stands and is built, `project` sends the rays.
"""

from training.simulate.ct.pose import STRAIGHT, Pose, draw_pose
from training.simulate.ct.project import project
from training.simulate.ct.tissue import Volume, find_bone, separate

__all__ = ["STRAIGHT", "Pose", "Volume", "draw_pose", "find_bone", "project", "separate"]
