"""Ways to get optimizer, schedule, weights of classes and tracking wrong: name, patch, words, and who refuses first."""

from typing import Any

Object = dict[str, Any]


def _optimizer(**fields: Any) -> Object:
    return {"recipe": {"optimizer": fields}}


def _schedule(**fields: Any) -> Object:
    return {"recipe": {"schedule": fields}}


def _tracking(uri: str, **fields: Any) -> Object:
    return {"tracking": {"mlflow": {"uri": uri, **fields}}}


LEARNING: list[tuple[Any, ...]] = [
    ("nesterov without momentum", _optimizer(nesterov=True, momentum=0), "nesterov is for sgd with momentum", "cel"),
    ("nesterov of another", _optimizer(name="adamw", nesterov=True), "nesterov is for sgd with momentum", "cel"),
    ("dampening of another", _optimizer(name="adamw", dampening=0.1), "dampening is for sgd", "cel"),
    ("beta2 of sgd", _optimizer(beta2=0.9), "beta2 and epsilon are for adamw", "cel"),
    ("amsgrad of sgd", _optimizer(amsgrad=True), "amsgrad is for adamw", "cel"),
    ("a moment that never forgets", _optimizer(name="adamw", momentum=1), "momentum of 1 never forgets", "cel"),
    ("a final rate of constant", _schedule(name="constant", finalShare=0.1), "finalShare is for cosine", "cel"),
    ("a fall of cosine", _schedule(decayShare=0.1), "decayShare is for wsd", "cel"),
    ("unknown schedule", _schedule(name="polynomial"), "schedule.name: Input should be"),
    ("no patience", {"recipe": {"earlyStopping": {}}}, "earlyStopping.patience: required"),
    ("an average of one", {"recipe": {"ema": {"decay": 1}}}, "ema.decay: Input should be less than 1"),
    (
        "classes weighed twice",
        {"recipe": {"balanceClasses": True, "classWeights": {"a": 1}}},
        "two ways to weigh classes",
        "cel",
    ),
    ("muon in parts", {"strategy": {"name": "FSDP2"}, **_optimizer(name="muon")}, "need whole parameters", "cel"),
    (
        "an average in parts",
        {"launcher": "deepspeed", "deepspeed": {"zeroStage": 2}, "recipe": {"ema": {}}},
        "ema goes with strategy.name DDP and FSDP2",
        "cel",
    ),
    (
        "an average of ZeRO",
        {"strategy": {"name": "ZeRO3"}, "recipe": {"ema": {}}},
        "ema goes with strategy.name DDP and FSDP2",
        "cel",
    ),
    ("a tracker without a scheme", _tracking("mlflow:5000"), "uri is the address of a server", "cel"),
    ("a tracker's password", _tracking("https://me:secret@mlflow"), "must not hold a user or a password", "cel"),
    ("a tracker in a bucket", _tracking("s3://bucket/runs"), "uri is the address of a server", "cel"),
    ("an experiment of spaces", _tracking("http://mlflow", experiment=" "), "experiment: String should match"),
]
