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
    tenant character varying(64) DEFAULT 'default'::character varying NOT NULL
);
CREATE TABLE public.request_rates (
    tenant character varying(64) NOT NULL,
    full_at double precision NOT NULL
);
INSERT INTO public.alembic_version VALUES ('0003');
INSERT INTO public.datasets VALUES ('ds_01m7zr77hn7ev8q2j8r694w1xm', 'flowers.csv', 'csv', 1155, '4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247', 60, '[{"name": "length", "type": "numeric", "stored_as": "number", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332, "standard_deviation": 0.8974051498936004, "earliest": null, "latest": null, "top_values": []}, {"name": "petals", "type": "numeric", "stored_as": "number", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4, "standard_deviation": 2.665833203084294, "earliest": null, "latest": null, "top_values": [{"value": 8, "count": 13}, {"value": 3, "count": 9}, {"value": 6, "count": 8}, {"value": 5, "count": 7}, {"value": 0, "count": 6}, {"value": 1, "count": 6}, {"value": 4, "count": 6}, {"value": 2, "count": 3}, {"value": 7, "count": 2}]}, {"name": "wild", "type": "boolean", "stored_as": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": true, "count": 32}, {"value": false, "count": 28}]}, {"name": "label", "type": "categorical", "stored_as": "text", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": "iris", "count": 32}, {"value": "rose", "count": 28}]}]', 'datasets/ds_01m7zr77hn7ev8q2j8r694w1xm.fc5eeac6061afdb7410c71faf4803eb2827487b11f6095749b689ce423beab6a.parquet', 1795288178.233953, '{"delimiter": ",", "quote": "\"", "encoding": "utf-8", "header": true}', '[]', 'default');
INSERT INTO public.epochs VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 1, 0.765210747718811, 0.7618520855903625, 0.3333333333333333, 0.001, 7683.557802374764, 1795288181.621962);
INSERT INTO public.epochs VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 2, 0.7889799475669861, 0.7581765055656433, 0.3333333333333333, 0.001, 53513.61441597561, 1795288181.624178);
INSERT INTO public.epochs VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 3, 0.7880283196767172, 0.7537446022033691, 0.3333333333333333, 0.001, 57629.690868382466, 1795288181.625629);
INSERT INTO public.epochs VALUES ('job_01m7zr7dm169amzhwzrjj753x6', 1, 0.7, 0.8, 0.5, 0.001, 12345, 1795288184.455718);
INSERT INTO public.epochs VALUES ('job_01m7zr7dm169amzhwzrjj753x6', 2, 0.35, 0.4, 0.5, 0.001, 12345, 1795288184.457032);
INSERT INTO public.events VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 1, 'queued', '{}', 1795288178.252275);
INSERT INTO public.events VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 2, 'running', '{"attempt": 1}', 1795288178.262293);
INSERT INTO public.events VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.765210747718811, "validation_loss": 0.7618520855903625, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 7683.557802374764}', 1795288181.620918);
INSERT INTO public.events VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.7889799475669861, "validation_loss": 0.7581765055656433, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 53513.61441597561}', 1795288181.623803);
INSERT INTO public.events VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 5, 'epoch', '{"attempt": 1, "epoch": 3, "train_loss": 0.7880283196767172, "validation_loss": 0.7537446022033691, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 57629.690868382466}', 1795288181.625267);
INSERT INTO public.events VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 6, 'succeeded', '{"attempt": 1, "reason": "completed"}', 1795288181.64505);
INSERT INTO public.events VALUES ('job_01m7zr7axbbyq3exx4fw4pp7kx', 1, 'queued', '{}', 1795288181.677136);
INSERT INTO public.events VALUES ('job_01m7zr7axbbyq3exx4fw4pp7kx', 2, 'running', '{"attempt": 1}', 1795288181.680972);
INSERT INTO public.events VALUES ('job_01m7zr7axbbyq3exx4fw4pp7kx', 3, 'failed', '{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}', 1795288184.40868);
INSERT INTO public.events VALUES ('job_01m7zr7dkp01gqana80gy3vgf4', 1, 'queued', '{}', 1795288184.439712);
INSERT INTO public.events VALUES ('job_01m7zr7dkp01gqana80gy3vgf4', 2, 'cancelled', '{"attempt": 0, "reason": "cancelled_by_user"}', 1795288184.44474);
INSERT INTO public.events VALUES ('job_01m7zr7dm169amzhwzrjj753x6', 1, 'queued', '{}', 1795288184.450516);
INSERT INTO public.events VALUES ('job_01m7zr7dm169amzhwzrjj753x6', 2, 'running', '{"attempt": 1}', 1795288184.454321);
INSERT INTO public.events VALUES ('job_01m7zr7dm169amzhwzrjj753x6', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1795288184.455378);
INSERT INTO public.events VALUES ('job_01m7zr7dm169amzhwzrjj753x6', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1795288184.456722);
INSERT INTO public.events VALUES ('job_01m7zr7dmc6sakasagjpae3ss8', 1, 'queued', '{}', 1795288184.461109);
INSERT INTO public.idempotency_keys VALUES ('6113f1f2aa4fecc3fbe1b2b7ff2909e1b1a375c83727b39f9e4f1e702b7d4cdc', '4a7ca51326d2adab8a40217268dc1dc13ee68ee2785c211463b98a5b2276c2ff', 202, '{"Location": "/v1/jobs/job_01m7zr77j9bq0bstqpqxcvtk20"}', '{"id": "job_01m7zr77j9bq0bstqpqxcvtk20", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m7zr77hn7ev8q2j8r694w1xm", "model": null, "progress": {"epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "dataset": {"id": "ds_01m7zr77hn7ev8q2j8r694w1xm", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "warnings": [], "metadata": {"team": "garden"}, "created_at": "2026-11-21T19:09:38.251Z", "started_at": null, "finished_at": null}', 1795288178.247206, 'default');
INSERT INTO public.jobs VALUES ('job_01m7zr7axbbyq3exx4fw4pp7kx', 'ds_01m7zr77hn7ev8q2j8r694w1xm', '{"name": "failed", "dataset": {"id": "ds_01m7zr77hn7ev8q2j8r694w1xm", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'failed', 'diverged', 'the loss became nan in epoch 1', 1, 0, NULL, NULL, 1795288181.67652, NULL, 1, 0, 3, 1795288181.676528, 1795288181.680309, 1795288184.408041, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m7zr77j9bq0bstqpqxcvtk20', 'ds_01m7zr77hn7ev8q2j8r694w1xm', '{"name": "succeeded", "dataset": {"id": "ds_01m7zr77hn7ev8q2j8r694w1xm", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'succeeded', 'completed', NULL, 1, 0, NULL, NULL, 1795288178.251164, NULL, 1, 3, 6, 1795288178.251167, 1795288178.261349, 1795288181.64402, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m7zr7dkp01gqana80gy3vgf4', 'ds_01m7zr77hn7ev8q2j8r694w1xm', '{"name": "cancelled", "dataset": {"id": "ds_01m7zr77hn7ev8q2j8r694w1xm", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'cancelled', 'cancelled_by_user', NULL, 0, 0, NULL, NULL, 1795288184.439188, NULL, NULL, 0, 2, 1795288184.439196, NULL, 1795288184.444128, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m7zr7dm169amzhwzrjj753x6', 'ds_01m7zr77hn7ev8q2j8r694w1xm', '{"name": "running", "dataset": {"id": "ds_01m7zr77hn7ev8q2j8r694w1xm", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'running', NULL, NULL, 1, 0, 'worker-1', 1795288185.453834, 1795288184.45007, NULL, 1, 2, 4, 1795288184.450073, 1795288184.453835, NULL, '[]', 'default', NULL);
INSERT INTO public.jobs VALUES ('job_01m7zr7dmc6sakasagjpae3ss8', 'ds_01m7zr77hn7ev8q2j8r694w1xm', '{"name": "queued", "dataset": {"id": "ds_01m7zr77hn7ev8q2j8r694w1xm", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'queued', NULL, NULL, 0, 0, NULL, NULL, 1795288184.460582, NULL, NULL, 0, 1, 1795288184.460585, NULL, NULL, '[]', 'default', NULL);
INSERT INTO public.models VALUES ('mdl_01m7zr7awd5z9h84k6t5mt6y1c', 'job_01m7zr77j9bq0bstqpqxcvtk20', 'succeeded', '{"format_version": 2, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "encoder": {"features": [{"type": "numeric", "name": "length", "may_be_missing": false}, {"type": "numeric", "name": "petals", "may_be_missing": false}, {"type": "boolean", "name": "wild", "may_be_missing": false}], "columns": ["length", "petals", "wild"]}, "targets": ["label"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "a15baae06f00ebc34a968b61cc82e6c9ac52dd7b7f14de1ae7f185dced06d1e8"}', '{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "balanced_accuracy": 0.375, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45, "log_loss": 0.7537446152928143, "brier": 0.2797868212012152, "expected_calibration_error": 0.23112477920660943}, "confusion_matrix": [[1, 3], [1, 1]], "per_class": [{"class": "iris", "num_rows": 4, "precision": 0.5, "recall": 0.25, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.7708333333333333}, {"class": "rose", "num_rows": 2, "precision": 0.25, "recall": 0.5, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5536314782631482, "accuracy": 0.4}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6185912839239157, "accuracy": 0.0}]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.16666666666666666, "balanced_accuracy": 0.16666666666666666, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444, "log_loss": 0.7973340360132596, "brier": 0.30107149067855116, "expected_calibration_error": 0.39112426312431753}, "confusion_matrix": [[1, 2], [3, 0]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 0.25, "recall": 0.3333333333333333, "f1": 0.2857142857142857, "roc_auc": 0.2222222222222222, "average_precision": 0.4666666666666666}, {"class": "rose", "num_rows": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5413810819607612, "accuracy": 0.2}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6398401689420995, "accuracy": 0.0}]}}', 26, 984, 'jobs/job_01m7zr77j9bq0bstqpqxcvtk20/1/model', 1795288181.646747, 'default');
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
CREATE INDEX ix_models_tenant_id ON public.models USING btree (tenant, id);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT fk_epochs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
