CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
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
    warnings json DEFAULT '[]'::json NOT NULL
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
    created_at double precision NOT NULL
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
    warnings json DEFAULT '[]'::json NOT NULL
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
    created_at double precision NOT NULL
);
INSERT INTO public.alembic_version VALUES ('0002');
INSERT INTO public.datasets VALUES ('ds_01m7zddng7exq2zhexd1zmv4sw', 'flowers.csv', 'csv', 1155, '4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247', 60, '[{"name": "length", "type": "numeric", "stored_as": "number", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332, "standard_deviation": 0.8974051498936004, "earliest": null, "latest": null, "top_values": []}, {"name": "petals", "type": "numeric", "stored_as": "number", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4, "standard_deviation": 2.665833203084294, "earliest": null, "latest": null, "top_values": [{"value": 8, "count": 13}, {"value": 3, "count": 9}, {"value": 6, "count": 8}, {"value": 5, "count": 7}, {"value": 0, "count": 6}, {"value": 1, "count": 6}, {"value": 4, "count": 6}, {"value": 2, "count": 3}, {"value": 7, "count": 2}]}, {"name": "wild", "type": "boolean", "stored_as": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": true, "count": 32}, {"value": false, "count": 28}]}, {"name": "label", "type": "categorical", "stored_as": "text", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": "iris", "count": 32}, {"value": "rose", "count": 28}]}]', 'datasets/ds_01m7zddng7exq2zhexd1zmv4sw.parquet', 1795276854.795532, '{"delimiter": ",", "quote": "\"", "encoding": "utf-8", "header": true}', '[]');
INSERT INTO public.epochs VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 1, 0.765210747718811, 0.7618520855903625, 0.3333333333333333, 0.001, 12203.344321121678, 1795276857.603883);
INSERT INTO public.epochs VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 2, 0.7889799475669861, 0.7581765055656433, 0.3333333333333333, 0.001, 55243.65907062525, 1795276857.606414);
INSERT INTO public.epochs VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 3, 0.7880283196767172, 0.7537446022033691, 0.3333333333333333, 0.001, 50743.06901893571, 1795276857.607854);
INSERT INTO public.epochs VALUES ('job_01m7zddv436kdhrtzy6k2tz9ba', 1, 0.7, 0.8, 0.5, 0.001, 12345, 1795276860.554401);
INSERT INTO public.epochs VALUES ('job_01m7zddv436kdhrtzy6k2tz9ba', 2, 0.35, 0.4, 0.5, 0.001, 12345, 1795276860.555851);
INSERT INTO public.events VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 1, 'queued', '{}', 1795276854.813477);
INSERT INTO public.events VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 2, 'running', '{"attempt": 1}', 1795276854.824984);
INSERT INTO public.events VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.765210747718811, "validation_loss": 0.7618520855903625, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 12203.344321121678}', 1795276857.603012);
INSERT INTO public.events VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.7889799475669861, "validation_loss": 0.7581765055656433, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 55243.65907062525}', 1795276857.606048);
INSERT INTO public.events VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 5, 'epoch', '{"attempt": 1, "epoch": 3, "train_loss": 0.7880283196767172, "validation_loss": 0.7537446022033691, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 50743.06901893571}', 1795276857.607512);
INSERT INTO public.events VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 6, 'succeeded', '{"attempt": 1, "reason": "completed"}', 1795276857.623876);
INSERT INTO public.events VALUES ('job_01m7zddr9tpj8mfw8b06943z12', 1, 'queued', '{}', 1795276857.659778);
INSERT INTO public.events VALUES ('job_01m7zddr9tpj8mfw8b06943z12', 2, 'running', '{"attempt": 1}', 1795276857.664081);
INSERT INTO public.events VALUES ('job_01m7zddr9tpj8mfw8b06943z12', 3, 'failed', '{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}', 1795276860.50006);
INSERT INTO public.events VALUES ('job_01m7zddv3r0wq652wehppxg8gk', 1, 'queued', '{}', 1795276860.537614);
INSERT INTO public.events VALUES ('job_01m7zddv3r0wq652wehppxg8gk', 2, 'cancelled', '{"attempt": 0, "reason": "cancelled_by_user"}', 1795276860.54264);
INSERT INTO public.events VALUES ('job_01m7zddv436kdhrtzy6k2tz9ba', 1, 'queued', '{}', 1795276860.548368);
INSERT INTO public.events VALUES ('job_01m7zddv436kdhrtzy6k2tz9ba', 2, 'running', '{"attempt": 1}', 1795276860.552766);
INSERT INTO public.events VALUES ('job_01m7zddv436kdhrtzy6k2tz9ba', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1795276860.554035);
INSERT INTO public.events VALUES ('job_01m7zddv436kdhrtzy6k2tz9ba', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1795276860.555519);
INSERT INTO public.events VALUES ('job_01m7zddv4faya30hh57g0k0vfd', 1, 'queued', '{}', 1795276860.560259);
INSERT INTO public.idempotency_keys VALUES ('e27193d5d3237c863decaf154433c3372c07573dbcc47017ae6d0cba30de3b0d', 'df470bf4dc14783565b82695c2b92bec05958ce25af25975d0b1a367e9c152c1', 202, '{"Location": "/v1/jobs/job_01m7zddngte47bfbhp4t2wmtwt"}', '{"id": "job_01m7zddngte47bfbhp4t2wmtwt", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m7zddng7exq2zhexd1zmv4sw", "model": null, "progress": {"epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "dataset": {"id": "ds_01m7zddng7exq2zhexd1zmv4sw", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "warnings": [], "metadata": {"team": "garden"}, "created_at": "2026-11-21T16:00:54.812Z", "started_at": null, "finished_at": null}', 1795276854.808993);
INSERT INTO public.jobs VALUES ('job_01m7zddr9tpj8mfw8b06943z12', 'ds_01m7zddng7exq2zhexd1zmv4sw', '{"name": "failed", "dataset": {"id": "ds_01m7zddng7exq2zhexd1zmv4sw", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'failed', 'diverged', 'the loss became nan in epoch 1', 1, 0, NULL, NULL, 1795276857.659287, NULL, 1, 0, 3, 1795276857.659295, 1795276857.66336, 1795276860.499408, '[]');
INSERT INTO public.jobs VALUES ('job_01m7zddngte47bfbhp4t2wmtwt', 'ds_01m7zddng7exq2zhexd1zmv4sw', '{"name": "succeeded", "dataset": {"id": "ds_01m7zddng7exq2zhexd1zmv4sw", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'succeeded', 'completed', NULL, 1, 0, NULL, NULL, 1795276854.812331, NULL, 1, 3, 6, 1795276854.812335, 1795276854.823902, 1795276857.622916, '[]');
INSERT INTO public.jobs VALUES ('job_01m7zddv3r0wq652wehppxg8gk', 'ds_01m7zddng7exq2zhexd1zmv4sw', '{"name": "cancelled", "dataset": {"id": "ds_01m7zddng7exq2zhexd1zmv4sw", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'cancelled', 'cancelled_by_user', NULL, 0, 0, NULL, NULL, 1795276860.536932, NULL, NULL, 0, 2, 1795276860.53694, NULL, 1795276860.54194, '[]');
INSERT INTO public.jobs VALUES ('job_01m7zddv436kdhrtzy6k2tz9ba', 'ds_01m7zddng7exq2zhexd1zmv4sw', '{"name": "running", "dataset": {"id": "ds_01m7zddng7exq2zhexd1zmv4sw", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'running', NULL, NULL, 1, 0, 'worker-1', 1795276861.552176, 1795276860.54785, NULL, 1, 2, 4, 1795276860.547855, 1795276860.552177, NULL, '[]');
INSERT INTO public.jobs VALUES ('job_01m7zddv4faya30hh57g0k0vfd', 'ds_01m7zddng7exq2zhexd1zmv4sw', '{"name": "queued", "dataset": {"id": "ds_01m7zddng7exq2zhexd1zmv4sw", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'queued', NULL, NULL, 0, 0, NULL, NULL, 1795276860.559714, NULL, NULL, 0, 1, 1795276860.559718, NULL, NULL, '[]');
INSERT INTO public.models VALUES ('mdl_01m7zddr8rngznh466r50p9j1g', 'job_01m7zddngte47bfbhp4t2wmtwt', 'succeeded', '{"format_version": 2, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "encoder": {"features": [{"type": "numeric", "name": "length", "may_be_missing": false}, {"type": "numeric", "name": "petals", "may_be_missing": false}, {"type": "boolean", "name": "wild", "may_be_missing": false}], "columns": ["length", "petals", "wild"]}, "targets": ["label"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "a15baae06f00ebc34a968b61cc82e6c9ac52dd7b7f14de1ae7f185dced06d1e8"}', '{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "balanced_accuracy": 0.375, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45, "log_loss": 0.7537446152928143, "brier": 0.2797868212012152, "expected_calibration_error": 0.23112477920660943}, "confusion_matrix": [[1, 3], [1, 1]], "per_class": [{"class": "iris", "num_rows": 4, "precision": 0.5, "recall": 0.25, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.7708333333333333}, {"class": "rose", "num_rows": 2, "precision": 0.25, "recall": 0.5, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5536314782631482, "accuracy": 0.4}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6185912839239157, "accuracy": 0.0}]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.16666666666666666, "balanced_accuracy": 0.16666666666666666, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444, "log_loss": 0.7973340360132596, "brier": 0.30107149067855116, "expected_calibration_error": 0.39112426312431753}, "confusion_matrix": [[1, 2], [3, 0]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 0.25, "recall": 0.3333333333333333, "f1": 0.2857142857142857, "roc_auc": 0.2222222222222222, "average_precision": 0.4666666666666666}, {"class": "rose", "num_rows": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5413810819607612, "accuracy": 0.2}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6398401689420995, "accuracy": 0.0}]}}', 26, 984, 'jobs/job_01m7zddngte47bfbhp4t2wmtwt/1/model', 1795276857.62506);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
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
ALTER TABLE ONLY public.models
    ADD CONSTRAINT uq_models_job_id UNIQUE (job_id);
CREATE INDEX ix_jobs_dataset_id ON public.jobs USING btree (dataset_id);
CREATE INDEX ix_jobs_state_run_after ON public.jobs USING btree (state, run_after);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT fk_epochs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
