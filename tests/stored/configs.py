"""What is stored of a release: which models, which run, and specs and settings with every field."""

from pathlib import Path
from typing import Any

from store.settings import Settings

FEATURES = ["size", "town", "kind", "day", "new", "note"]
TYPES = {"note": "text"}
PREPROCESSING = {"max_one_hot": 4, "embedding_dropout": 0.1, "text_buckets": 8}

MODELS: dict[str, dict[str, Any]] = {
    "classification": {
        "dataset": {"id": "ds_1", "target": "label", "features": FEATURES, "types": TYPES},
        "preprocessing": {**PREPROCESSING, "unknown_rate": 0.05},
        "model": {
            "hidden": [16, 8],
            "batch_norm": True,
            "input_dropout": 0.1,
            "hidden_dropout": [{"keep": 0.8, "scaling": "classic"}, {"p": 0.3}],
        },
        "training": {"epochs": 3, "batch_size": 16, "seed": 1, "device": "cpu"},
    },
    "regression": {
        "dataset": {
            "id": "ds_1",
            "target": ["price", "rent"],
            "features": FEATURES,
            "types": TYPES,
            "weight": "weight",
        },
        "preprocessing": {**PREPROCESSING, "scale": "quantile", "impute": "mean"},
        "model": {
            "hidden": [8, 8],
            "activation": "maxout",
            "hidden_dropout": [
                {"kind": "gaussian", "p": 0.2},
                {"kind": "dropconnect", "p": 0.3, "masks": "per_batch"},
            ],
            "init": "kaiming_normal",
        },
        "training": {"epochs": 3, "batch_size": 16, "seed": 2, "device": "cpu"},
    },
}

# The interrupted run has something of everything that a checkpoint holds.
RUN: dict[str, Any] = {
    "dataset": {
        "id": "ds_1",
        "target": "label",
        "features": FEATURES[:5],
        "split": {"kind": "stratified", "validation": 0.2, "test": 0.0, "seed": 3},
    },
    "preprocessing": {"max_one_hot": 4},
    "model": {
        "hidden": [8, 4],
        "activation": "tanh",
        "batch_norm": True,
        "hidden_dropout": 0.2,
        "max_norm": 2.0,
    },
    "training": {
        "epochs": 4,
        "batch_size": 16,
        "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.001},
        "scheduler": {"name": "one_cycle", "max_lr": 0.02},
        "early_stopping": {"patience": 2},
        "class_weights": "balanced",
        "label_smoothing": 0.05,
        "max_grad_norm": 1.0,
        "ema_decay": 0.8,
        "seed": 3,
        "device": "cpu",
    },
}

# Between them they give every field another value than its default, and use every optimizer,
# scheduler, split, dropout and task.
SPECS: list[dict[str, Any]] = [
    {
        "name": "everything",
        "dataset": {
            "id": "ds_1",
            "target": "label",
            "features": ["size", "kind"],
            "types": {"size": "numeric", "kind": "categorical"},
            "weight": "weight",
            "split": {
                "kind": "grouped",
                "column": "town",
                "validation": 0.2,
                "test": 0.3,
                "folds": 4,
                "seed": 9,
            },
        },
        "task": "multiclass",
        "preprocessing": {
            "scale": "quantile",
            "impute": "mean",
            "max_one_hot": 3,
            "max_categories": 50,
            "embedding_dim": 5,
            "embedding_dropout": 0.1,
            "unknown_rate": 0.02,
            "text_buckets": 32,
        },
        "model": {
            "hidden": [12, 10, 8],
            "activation": "maxout",
            "maxout_pieces": 3,
            "input_dropout": {"keep": 0.9, "scaling": "classic"},
            "hidden_dropout": [
                0.25,
                {"kind": "gaussian", "p": 0.2},
                {"kind": "dropconnect", "p": 0.5, "masks": "per_example"},
            ],
            "batch_norm": True,
            "max_norm": 3.5,
            "init": "kaiming_uniform",
        },
        "training": {
            "epochs": 7,
            "batch_size": 64,
            "optimizer": {
                "name": "adamw",
                "lr": 0.002,
                "betas": [0.8, 0.99],
                "eps": 1e-7,
                "weight_decay": 0.02,
            },
            "scheduler": {"name": "step", "step_size": 2, "gamma": 0.5},
            "early_stopping": {"patience": 3, "min_delta": 0.001},
            "class_weights": [1.0, 2.5, 0.5],
            "label_smoothing": 0.1,
            "max_grad_norm": 5.0,
            "ema_decay": 0.99,
            "max_runtime_seconds": 3600.0,
            "seed": 11,
            "device": "cuda",
        },
        "metadata": {"team": "garden", "note": "\N{SNOWMAN}"},
    },
    {
        "dataset": {
            "id": "ds_2",
            "target": ["new", "dear"],
            "types": {"new": "boolean", "day": "datetime", "note": "text"},
            "split": {"kind": "time", "column": "day"},
        },
        "task": "multilabel",
        "model": {
            "hidden": [8],
            "activation": "gelu",
            "input_dropout": {"kind": "batchwise", "p": 0.1, "group_size": 8},
            "hidden_dropout": {"kind": "batchwise", "keep": 0.5, "group_size": 8},
            "init": "normal",
        },
        "training": {
            "optimizer": {
                "name": "sgd",
                "lr": 0.05,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 0.001,
            },
            "scheduler": {"name": "cosine", "min_lr": 0.0001},
        },
    },
    {
        "dataset": {
            "id": "ds_3",
            "target": "price",
            "split": {"kind": "column", "column": "part"},
        },
        "task": "regression",
        "model": {"activation": "logistic", "init": "xavier_normal"},
        "training": {
            "optimizer": {
                "name": "adam",
                "lr": 0.01,
                "betas": [0.7, 0.9],
                "eps": 1e-6,
                "weight_decay": 0.1,
            },
            "scheduler": {"name": "linear", "start_factor": 0.5, "end_factor": 0.1},
            "precision": "bfloat16",
            "device": "cpu",
        },
    },
    {
        "dataset": {"id": "ds_4", "target": "label", "split": {"kind": "stratified"}},
        "task": "binary",
        "training": {
            "scheduler": {"name": "one_cycle", "max_lr": 0.1, "warmup": 0.2},
            "class_weights": "balanced",
        },
    },
]

SETTINGS = Settings(
    data_dir=Path("/srv/dropout"),
    database_url="postgresql://dropout@db/dropout",
    artifact_url="s3://bucket/prefix",
    artifact_cache_bytes=1001,
    redis_url="redis://broker/1",
    max_upload_bytes=1002,
    max_request_bytes=1003,
    max_columns=1004,
    read_memory_bytes=1005,
    read_seconds=6,
    max_training_bytes=1007,
    max_parameters=1008,
    max_epochs=1009,
    max_batch_size=1010,
    max_runtime_seconds=11,
    max_loaded_model_bytes=1012,
    tenant_queued_jobs=13,
    tenant_running_jobs=14,
    tenant_datasets=15,
    tenant_dataset_bytes=1016,
    tenant_requests_per_second=17,
    tenant_request_burst=18,
    concurrency=19,
    threads_per_job=20,
    auto_device_queue="gpu",
    lease_seconds=70,
    renew_seconds=21,
    fence_seconds=60,
    max_attempts=22,
    retry_backoff_seconds=23,
    redispatch_seconds=24,
    checkpoint_seconds=25,
    grace_seconds=26,
    finish_seconds=27,
    sweep_seconds=28,
    keep_events_days=29,
    access_log=False,
    worker_metrics_port=3000,
    worker_metrics_host="127.0.0.2",
)
