"""Modelwright: an MLOps platform of separate Lambda functions over DynamoDB, S3 and EventBridge."""
