"""Who answers: routes, canaries judged on realised labels, and the serving of predictions."""
