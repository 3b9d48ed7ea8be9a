"""The built-in trainer: does one training, or a step of one, which it is told by its id, and writes what came of it."""

from modelwright.runtime import Function
from modelwright.trainer import run

handler = Function("train", table="retraining", raw=run)
