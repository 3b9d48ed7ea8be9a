"""Trainers that run in AWS: our own Lambda function, and what is bigger or takes longer.

Each module hides one service. What they share is in ``options``: how a policy's options are read, what a job outside is
told, and that it is stopped before it costs more than was reserved for it.
"""

from modelwright.adapters.trainers.batch import BatchTrainer
from modelwright.adapters.trainers.functions import FUNCTION, AutoMlTrainer, LambdaTrainer
from modelwright.adapters.trainers.options import ENVIRONMENT
from modelwright.adapters.trainers.sagemaker import SageMakerTrainer
from modelwright.adapters.trainers.stepfunctions import STATE_MACHINE, StepFunctionsTrainer

__all__ = [
    "ENVIRONMENT",
    "FUNCTION",
    "STATE_MACHINE",
    "AutoMlTrainer",
    "BatchTrainer",
    "LambdaTrainer",
    "SageMakerTrainer",
    "StepFunctionsTrainer",
]
