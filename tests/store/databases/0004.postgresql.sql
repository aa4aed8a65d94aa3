CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_keys (
    id character varying(40) NOT NULL,
    tenant character varying(64) NOT NULL,
    name text NOT NULL,
    scopes json NOT NULL,
    secret_sha256 character varying(64) NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision,
    last_used_at double precision,
    revoked_at double precision
);
CREATE TABLE public.datasets (
    id character varying(40) NOT NULL,
    name text NOT NULL,
    format character varying(16) NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 character varying(64) NOT NULL,
    num_rows bigint NOT NULL,
    columns json NOT NULL,
    artifact text NOT NULL,
    created_at double precision NOT NULL,
    options json DEFAULT '{}'::json NOT NULL,
    warnings json DEFAULT '[]'::json NOT NULL,
    tenant character varying(64) DEFAULT 'default'::character varying NOT NULL
);
CREATE TABLE public.epochs (
    job_id character varying(40) NOT NULL,
    epoch integer NOT NULL,
    train_loss double precision NOT NULL,
    validation_loss double precision,
    validation_score double precision,
    learning_rate double precision NOT NULL,
    samples_per_second double precision NOT NULL,
    recorded_at double precision NOT NULL
);
CREATE TABLE public.events (
    job_id character varying(40) NOT NULL,
    sequence integer NOT NULL,
    type character varying(16) NOT NULL,
    data json NOT NULL,
    created_at double precision NOT NULL
);
CREATE TABLE public.idempotency_keys (
    key character varying(255) NOT NULL,
    request_sha256 character varying(64) NOT NULL,
    status integer,
    headers json,
    body json,
    created_at double precision NOT NULL,
    tenant character varying(64) DEFAULT 'default'::character varying NOT NULL
);
CREATE TABLE public.jobs (
    id character varying(40) NOT NULL,
    dataset_id character varying(40) NOT NULL,
    spec json NOT NULL,
    queue character varying(16) NOT NULL,
    state character varying(16) NOT NULL,
    state_reason character varying(32),
    detail text,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    owner text,
    lease_expires_at double precision,
    run_after double precision NOT NULL,
    dispatched_at double precision,
    num_threads integer,
    epochs_completed integer NOT NULL,
    num_events integer NOT NULL,
    created_at double precision NOT NULL,
    started_at double precision,
    finished_at double precision,
    warnings json DEFAULT '[]'::json NOT NULL,
    tenant character varying(64) DEFAULT 'default'::character varying NOT NULL,
    traceparent character varying(55)
);
CREATE TABLE public.model_aliases (
    tenant character varying(64) NOT NULL,
    name text NOT NULL,
    alias character varying(64) NOT NULL,
    model_id character varying(40) NOT NULL
);
CREATE TABLE public.model_names (
    tenant character varying(64) NOT NULL,
    name text NOT NULL,
    last_version integer NOT NULL
);
CREATE TABLE public.models (
    id character varying(40) NOT NULL,
    job_id character varying(40) NOT NULL,
    name text,
    manifest json NOT NULL,
    metrics json NOT NULL,
    num_parameters bigint NOT NULL,
    size_bytes bigint NOT NULL,
    artifact text NOT NULL,
    created_at double precision NOT NULL,
    tenant character varying(64) DEFAULT 'default'::character varying NOT NULL,
    version integer,
    served boolean DEFAULT true NOT NULL
);
CREATE TABLE public.request_rates (
    tenant character varying(64) NOT NULL,
    full_at double precision NOT NULL
);
INSERT INTO public.alembic_version VALUES ('0004');
INSERT INTO public.datasets VALUES ('ds_01m8r7m89w6ncpdak67htzv5ez', 'flowers.csv', 'csv', 1155, '4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247', 60, '[{"name": "length", "type": "numeric", "stored_as": "number", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332, "standard_deviation": 0.8974051498936004, "earliest": null, "latest": null, "top_values": []}, {"name": "petals", "type": "numeric", "stored_as": "number", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4, "standard_deviation": 2.665833203084294, "earliest": null, "latest": null, "top_values": [{"value": 8, "count": 13}, {"value": 3, "count": 9}, {"value": 6, "count": 8}, {"value": 5, "count": 7}, {"value": 0, "count": 6}, {"value": 1, "count": 6}, {"value": 4, "count": 6}, {"value": 2, "count": 3}, {"value": 7, "count": 2}]}, {"name": "wild", "type": "boolean", "stored_as": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": true, "count": 32}, {"value": false, "count": 28}]}, {"name": "label", "type": "categorical", "stored_as": "text", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": "iris", "count": 32}, {"value": "rose", "count": 28}]}]', 'datasets/ds_01m8r7m89w6ncpdak67htzv5ez.fc5eeac6061afdb7410c71faf4803eb2827487b11f6095749b689ce423beab6a.parquet', 1796109640.003582, '{"delimiter": ",", "quote": "\"", "encoding": "utf-8", "header": true}', '[]', 'default');
INSERT INTO public.epochs VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 1, 0.765210747718811, 0.7618520855903625, 0.3333333333333333, 0.001, 11833.24589889628, 1796109643.499807);
INSERT INTO public.epochs VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 2, 0.7889799475669861, 0.7581765055656433, 0.3333333333333333, 0.001, 52228.12810863032, 1796109643.504062);
INSERT INTO public.epochs VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 3, 0.7880282998085022, 0.7537446022033691, 0.3333333333333333, 0.001, 54634.67047803439, 1796109643.507361);
INSERT INTO public.epochs VALUES ('job_01m8r7mffj7p1enr5b9e6admv2', 1, 0.7, 0.8, 0.5, 0.001, 12345, 1796109647.359206);
INSERT INTO public.epochs VALUES ('job_01m8r7mffj7p1enr5b9e6admv2', 2, 0.35, 0.4, 0.5, 0.001, 12345, 1796109647.361792);
INSERT INTO public.events VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 1, 'queued', '{}', 1796109640.038953);
INSERT INTO public.events VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 2, 'running', '{"attempt": 1}', 1796109640.058079);
INSERT INTO public.events VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.765210747718811, "validation_loss": 0.7618520855903625, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 11833.24589889628}', 1796109643.498096);
INSERT INTO public.events VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.7889799475669861, "validation_loss": 0.7581765055656433, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 52228.12810863032}', 1796109643.50329);
INSERT INTO public.events VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 5, 'epoch', '{"attempt": 1, "epoch": 3, "train_loss": 0.7880282998085022, "validation_loss": 0.7537446022033691, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 54634.67047803439}', 1796109643.506556);
INSERT INTO public.events VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 6, 'succeeded', '{"attempt": 1, "reason": "completed"}', 1796109643.512421);
INSERT INTO public.events VALUES ('job_01m8r7mbtrjzx4ryzae2k9pgjv', 1, 'queued', '{}', 1796109643.611664);
INSERT INTO public.events VALUES ('job_01m8r7mbtrjzx4ryzae2k9pgjv', 2, 'running', '{"attempt": 1}', 1796109643.621305);
INSERT INTO public.events VALUES ('job_01m8r7mbtrjzx4ryzae2k9pgjv', 3, 'failed', '{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}', 1796109647.295702);
INSERT INTO public.events VALUES ('job_01m8r7mfexa79jdnnjqgspjesf', 1, 'queued', '{}', 1796109647.327658);
INSERT INTO public.events VALUES ('job_01m8r7mfexa79jdnnjqgspjesf', 2, 'cancelled', '{"attempt": 0, "reason": "cancelled_by_user"}', 1796109647.33755);
INSERT INTO public.events VALUES ('job_01m8r7mffj7p1enr5b9e6admv2', 1, 'queued', '{}', 1796109647.348079);
INSERT INTO public.events VALUES ('job_01m8r7mffj7p1enr5b9e6admv2', 2, 'running', '{"attempt": 1}', 1796109647.356332);
INSERT INTO public.events VALUES ('job_01m8r7mffj7p1enr5b9e6admv2', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1796109647.358562);
INSERT INTO public.events VALUES ('job_01m8r7mffj7p1enr5b9e6admv2', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1796109647.361181);
INSERT INTO public.events VALUES ('job_01m8r7mfg9kgd6wk2apz6mcgp5', 1, 'queued', '{}', 1796109647.371864);
INSERT INTO public.idempotency_keys VALUES ('6113f1f2aa4fecc3fbe1b2b7ff2909e1b1a375c83727b39f9e4f1e702b7d4cdc', 'bede290a5e92ee9ae0dbd543eab2677dc98a3ed69180cbef223278472f9745e5', 202, '{"Location": "/v1/jobs/job_01m8r7m8b18gje13f6033tpbjq"}', '{"id": "job_01m8r7m8b18gje13f6033tpbjq", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m8r7m89w6ncpdak67htzv5ez", "model": null, "progress": {"epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "dataset": {"id": "ds_01m8r7m89w6ncpdak67htzv5ez", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "warnings": [], "metadata": {"team": "garden"}, "created_at": "2026-12-01T07:20:40.036Z", "started_at": null, "finished_at": null}', 1796109640.028817, 'default');
INSERT INTO public.jobs VALUES ('job_01m8r7mbtrjzx4ryzae2k9pgjv', 'ds_01m8r7m89w6ncpdak67htzv5ez', '{"name": "failed", "dataset": {"id": "ds_01m8r7m89w6ncpdak67htzv5ez", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'failed', 'diverged', 'the loss became nan in epoch 1', 1, 0, NULL, NULL, 1796109643.610091, NULL, 1, 0, 3, 1796109643.610109, 1796109643.619881, 1796109647.294496, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m8r7m8b18gje13f6033tpbjq', 'ds_01m8r7m89w6ncpdak67htzv5ez', '{"name": "succeeded", "dataset": {"id": "ds_01m8r7m89w6ncpdak67htzv5ez", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'succeeded', 'completed', NULL, 1, 0, NULL, NULL, 1796109640.036935, NULL, 1, 3, 6, 1796109640.036944, 1796109640.055963, 1796109643.510468, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m8r7mfexa79jdnnjqgspjesf', 'ds_01m8r7m89w6ncpdak67htzv5ez', '{"name": "cancelled", "dataset": {"id": "ds_01m8r7m89w6ncpdak67htzv5ez", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'cancelled', 'cancelled_by_user', NULL, 0, 0, NULL, NULL, 1796109647.326616, NULL, NULL, 0, 2, 1796109647.326626, NULL, 1796109647.336414, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m8r7mffj7p1enr5b9e6admv2', 'ds_01m8r7m89w6ncpdak67htzv5ez', '{"name": "running", "dataset": {"id": "ds_01m8r7m89w6ncpdak67htzv5ez", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'running', NULL, NULL, 1, 0, 'worker-1', 1796109648.355186, 1796109647.347092, NULL, 1, 2, 4, 1796109647.347098, 1796109647.355187, NULL, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m8r7mfg9kgd6wk2apz6mcgp5', 'ds_01m8r7m89w6ncpdak67htzv5ez', '{"name": "queued", "dataset": {"id": "ds_01m8r7m89w6ncpdak67htzv5ez", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'queued', NULL, NULL, 0, 0, NULL, NULL, 1796109647.370872, NULL, NULL, 0, 1, 1796109647.370878, NULL, NULL, '[]', 'default', NULL);
INSERT INTO public.model_names VALUES ('default', 'succeeded', 1);
INSERT INTO public.models VALUES ('mdl_01m8r7mbqth511v7trs434ncpb', 'job_01m8r7m8b18gje13f6033tpbjq', 'succeeded', '{"format_version": 2, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "encoder": {"features": [{"type": "numeric", "name": "length", "may_be_missing": false}, {"type": "numeric", "name": "petals", "may_be_missing": false}, {"type": "boolean", "name": "wild", "may_be_missing": false}], "columns": ["length", "petals", "wild"]}, "targets": ["label"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "ae0f43d257b37742e075ae7fe246920ed2ec1e251a1bf6fe75de83f5bc960d4b"}', '{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "balanced_accuracy": 0.375, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45, "log_loss": 0.7537446022564902, "brier": 0.27978681477921363, "expected_calibration_error": 0.23112477801898543}, "confusion_matrix": [[1, 3], [1, 1]], "per_class": [{"class": "iris", "num_rows": 4, "precision": 0.5, "recall": 0.25, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.7708333333333333}, {"class": "rose", "num_rows": 2, "precision": 0.25, "recall": 0.5, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5536314768379994, "accuracy": 0.4}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6185912839239157, "accuracy": 0.0}]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.16666666666666666, "balanced_accuracy": 0.16666666666666666, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444, "log_loss": 0.797334023841649, "brier": 0.3010714847896288, "expected_calibration_error": 0.3911242533743942}, "confusion_matrix": [[1, 2], [3, 0]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 0.25, "recall": 0.3333333333333333, "f1": 0.2857142857142857, "roc_auc": 0.2222222222222222, "average_precision": 0.4666666666666666}, {"class": "rose", "num_rows": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5413810716344108, "accuracy": 0.2}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6398401620743114, "accuracy": 0.0}]}}', 26, 984, 'jobs/job_01m8r7m8b18gje13f6033tpbjq/1/model', 1796109643.515542, 'default', 1, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT pk_datasets PRIMARY KEY (id);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT pk_epochs PRIMARY KEY (job_id, epoch);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (job_id, sequence);
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT pk_idempotency_keys PRIMARY KEY (key);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (id);
ALTER TABLE ONLY public.model_aliases
    ADD CONSTRAINT pk_model_aliases PRIMARY KEY (tenant, name, alias);
ALTER TABLE ONLY public.model_names
    ADD CONSTRAINT pk_model_names PRIMARY KEY (tenant, name);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (id);
ALTER TABLE ONLY public.request_rates
    ADD CONSTRAINT pk_request_rates PRIMARY KEY (tenant);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT uq_models_job_id UNIQUE (job_id);
CREATE INDEX ix_datasets_tenant_id ON public.datasets USING btree (tenant, id);
CREATE INDEX ix_jobs_dataset_id ON public.jobs USING btree (dataset_id);
CREATE INDEX ix_jobs_state_run_after ON public.jobs USING btree (state, run_after);
CREATE INDEX ix_jobs_tenant_id ON public.jobs USING btree (tenant, id);
CREATE INDEX ix_jobs_tenant_state ON public.jobs USING btree (tenant, state);
CREATE INDEX ix_model_aliases_model_id ON public.model_aliases USING btree (model_id);
CREATE INDEX ix_models_tenant_id ON public.models USING btree (tenant, id);
CREATE UNIQUE INDEX uq_models_tenant_name_version ON public.models USING btree (tenant, name, version);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT fk_epochs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.model_aliases
    ADD CONSTRAINT fk_model_aliases_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);
