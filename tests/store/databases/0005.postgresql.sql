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
    recorded_at double precision NOT NULL,
    monitored double precision
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
    traceparent character varying(55),
    step character varying(16),
    keep_model boolean DEFAULT false NOT NULL,
    name text
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
INSERT INTO public.alembic_version VALUES ('0005');
INSERT INTO public.datasets VALUES ('ds_01m8s92ktbemtshhpe4v00v896', 'flowers.csv', 'csv', 1155, '4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247', 60, '[{"name": "length", "type": "numeric", "stored_as": "number", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332, "standard_deviation": 0.8974051498936004, "earliest": null, "latest": null, "top_values": []}, {"name": "petals", "type": "numeric", "stored_as": "number", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4, "standard_deviation": 2.665833203084294, "earliest": null, "latest": null, "top_values": [{"value": 8, "count": 13}, {"value": 3, "count": 9}, {"value": 6, "count": 8}, {"value": 5, "count": 7}, {"value": 0, "count": 6}, {"value": 1, "count": 6}, {"value": 4, "count": 6}, {"value": 2, "count": 3}, {"value": 7, "count": 2}]}, {"name": "wild", "type": "boolean", "stored_as": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": true, "count": 32}, {"value": false, "count": 28}]}, {"name": "label", "type": "categorical", "stored_as": "text", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": "iris", "count": 32}, {"value": "rose", "count": 28}]}]', 'datasets/ds_01m8s92ktbemtshhpe4v00v896.fc5eeac6061afdb7410c71faf4803eb2827487b11f6095749b689ce423beab6a.parquet', 1796144713.554156, '{"delimiter": ",", "quote": "\"", "encoding": "utf-8", "header": true, "missing": ["", "NA", "na", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan", "NaT", "None", "NULL", "null", "Null", "(null)", "<null>", "\\N", "#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#CALC!", "#SPILL!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "?", "-", "--", "---", "\u2013", "\u2014", ".", ".."], "lenient": []}', '[]', 'default');
INSERT INTO public.epochs VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 1, 0.7794300317764282, 0.690612256526947, 0.6666666666666666, 0.001, 6616.269077911297, 1796144716.916579, NULL);
INSERT INTO public.epochs VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 2, 0.8041922251383463, 0.6878865361213684, 0.6666666666666666, 0.001, 44165.54731467576, 1796144716.925196, NULL);
INSERT INTO public.epochs VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 3, 0.790193518002828, 0.6853017210960388, 0.6666666666666666, 0.001, 33543.65675200573, 1796144716.927705, NULL);
INSERT INTO public.epochs VALUES ('job_01m8s92tcb72w459z2sqx7qr0q', 1, 0.7, 0.8, 0.5, 0.001, 12345, 1796144720.277933, NULL);
INSERT INTO public.epochs VALUES ('job_01m8s92tcb72w459z2sqx7qr0q', 2, 0.35, 0.4, 0.5, 0.001, 12345, 1796144720.281464, NULL);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 1, 'queued', '{}', 1796144713.573913);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 2, 'running', '{"attempt": 1}', 1796144713.589361);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 3, 'step', '{"attempt": 1, "step": "reading"}', 1796144715.895539);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 4, 'step', '{"attempt": 1, "step": "encoding"}', 1796144715.911694);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 5, 'step', '{"attempt": 1, "step": "scaling"}', 1796144715.93727);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 6, 'step', '{"attempt": 1, "step": "training"}', 1796144716.90932);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 7, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.7794300317764282, "validation_loss": 0.690612256526947, "validation_score": 0.6666666666666666, "learning_rate": 0.001, "samples_per_second": 6616.269077911297, "monitored": null}', 1796144716.915274);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 8, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.8041922251383463, "validation_loss": 0.6878865361213684, "validation_score": 0.6666666666666666, "learning_rate": 0.001, "samples_per_second": 44165.54731467576, "monitored": null}', 1796144716.924745);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 9, 'epoch', '{"attempt": 1, "epoch": 3, "train_loss": 0.790193518002828, "validation_loss": 0.6853017210960388, "validation_score": 0.6666666666666666, "learning_rate": 0.001, "samples_per_second": 33543.65675200573, "monitored": null}', 1796144716.927282);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 10, 'step', '{"attempt": 1, "step": "evaluating"}', 1796144716.928995);
INSERT INTO public.events VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 11, 'succeeded', '{"attempt": 1, "reason": "completed"}', 1796144716.944593);
INSERT INTO public.events VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 1, 'queued', '{}', 1796144716.983352);
INSERT INTO public.events VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 2, 'running', '{"attempt": 1}', 1796144716.98801);
INSERT INTO public.events VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 3, 'step', '{"attempt": 1, "step": "reading"}', 1796144719.158917);
INSERT INTO public.events VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 4, 'step', '{"attempt": 1, "step": "encoding"}', 1796144719.167345);
INSERT INTO public.events VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 5, 'step', '{"attempt": 1, "step": "scaling"}', 1796144719.196045);
INSERT INTO public.events VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 6, 'step', '{"attempt": 1, "step": "training"}', 1796144720.213842);
INSERT INTO public.events VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 7, 'failed', '{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}', 1796144720.220766);
INSERT INTO public.events VALUES ('job_01m8s92tbjqc4v12emaads29v5', 1, 'queued', '{}', 1796144720.244136);
INSERT INTO public.events VALUES ('job_01m8s92tbjqc4v12emaads29v5', 2, 'cancelled', '{"attempt": 0, "reason": "cancelled_by_user"}', 1796144720.256945);
INSERT INTO public.events VALUES ('job_01m8s92tcb72w459z2sqx7qr0q', 1, 'queued', '{}', 1796144720.269843);
INSERT INTO public.events VALUES ('job_01m8s92tcb72w459z2sqx7qr0q', 2, 'running', '{"attempt": 1}', 1796144720.27554);
INSERT INTO public.events VALUES ('job_01m8s92tcb72w459z2sqx7qr0q', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1796144720.277197);
INSERT INTO public.events VALUES ('job_01m8s92tcb72w459z2sqx7qr0q', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1796144720.281048);
INSERT INTO public.events VALUES ('job_01m8s92tcx408tb3s73mbgvmxk', 1, 'queued', '{}', 1796144720.287443);
INSERT INTO public.idempotency_keys VALUES ('6113f1f2aa4fecc3fbe1b2b7ff2909e1b1a375c83727b39f9e4f1e702b7d4cdc', '9e32ef2a558497b68f5eed6bbfdeb3c7d181e79e9b5ebe0787bc1013ab9ce66c', 202, '{"Location": "/v1/jobs/job_01m8s92kv1rcy4ng64tmxf3rca"}', '{"id": "job_01m8s92kv1rcy4ng64tmxf3rca", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m8s92ktbemtshhpe4v00v896", "model": null, "progress": {"step": null, "epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "preset": "plain", "optimise_for": null, "dataset": {"id": "ds_01m8s92ktbemtshhpe4v00v896", "target": "label", "target_delimiter": null, "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "min_frequency": 1, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128, "number_embedding": null}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform", "zero_output": false, "parametric_activation": false, "input_scaling": false, "members": 1, "member_sharing": "backbone"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "weight_decay_schedule": null, "dropout_schedule": null, "layer_rates": "all", "loss": "squared", "quantiles": null, "calibrate": false, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "warnings": [], "metadata": {"team": "garden"}, "created_at": "2026-12-01T17:05:13.571Z", "started_at": null, "finished_at": null}', 1796144713.564986, 'default');
INSERT INTO public.jobs VALUES ('job_01m8s92tbjqc4v12emaads29v5', 'ds_01m8s92ktbemtshhpe4v00v896', '{"name": "cancelled", "dataset": {"id": "ds_01m8s92ktbemtshhpe4v00v896", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'cancelled', 'cancelled_by_user', NULL, 0, 0, NULL, NULL, 1796144720.243438, NULL, NULL, 0, 2, 1796144720.243447, NULL, 1796144720.253989, '[]', 'default', NULL, NULL, false, 'cancelled');
INSERT INTO public.jobs VALUES ('job_01m8s92tcx408tb3s73mbgvmxk', 'ds_01m8s92ktbemtshhpe4v00v896', '{"name": "queued", "dataset": {"id": "ds_01m8s92ktbemtshhpe4v00v896", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'queued', NULL, NULL, 0, 0, NULL, NULL, 1796144720.286624, NULL, NULL, 0, 1, 1796144720.286629, NULL, NULL, '[]', 'default', NULL, NULL, false, 'queued');
INSERT INTO public.jobs VALUES ('job_01m8s92kv1rcy4ng64tmxf3rca', 'ds_01m8s92ktbemtshhpe4v00v896', '{"name": "succeeded", "dataset": {"id": "ds_01m8s92ktbemtshhpe4v00v896", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'succeeded', 'completed', NULL, 1, 0, NULL, NULL, 1796144713.571992, NULL, 1, 3, 11, 1796144713.571999, 1796144713.587393, 1796144716.943801, '[]', 'default', NULL, NULL, false, 'succeeded');
INSERT INTO public.jobs VALUES ('job_01m8s92q5nxbmcxb2w3d03w2q0', 'ds_01m8s92ktbemtshhpe4v00v896', '{"name": "failed", "dataset": {"id": "ds_01m8s92ktbemtshhpe4v00v896", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'failed', 'diverged', 'the loss became nan in epoch 1', 1, 0, NULL, NULL, 1796144716.982521, NULL, 1, 0, 7, 1796144716.98253, 1796144716.987319, 1796144720.220129, '[]', 'default', NULL, NULL, false, 'failed');
INSERT INTO public.jobs VALUES ('job_01m8s92tcb72w459z2sqx7qr0q', 'ds_01m8s92ktbemtshhpe4v00v896', '{"name": "running", "dataset": {"id": "ds_01m8s92ktbemtshhpe4v00v896", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "stratified", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'running', NULL, NULL, 1, 0, 'worker-1', 1796144721.274691, 1796144720.269138, NULL, 1, 2, 4, 1796144720.269144, 1796144720.274696, NULL, '[]', 'default', NULL, NULL, false, 'running');
INSERT INTO public.model_names VALUES ('default', 'succeeded', 1);
INSERT INTO public.models VALUES ('mdl_01m8s92q4j7erdse7kqzk7jsvs', 'job_01m8s92kv1rcy4ng64tmxf3rca', 'succeeded', '{"format_version": 2, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "encoder": {"features": [{"type": "numeric", "name": "length", "may_be_missing": false}, {"type": "numeric", "name": "petals", "may_be_missing": false}, {"type": "boolean", "name": "wild", "may_be_missing": false}], "columns": ["length", "petals", "wild"], "missing": ["", "NA", "na", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan", "NaT", "None", "NULL", "null", "Null", "(null)", "<null>", "\\N", "#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#CALC!", "#SPILL!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "?", "-", "--", "---", "\u2013", "\u2014", ".", ".."]}, "targets": ["label"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "efbd63ebc8de6d2f1a30aa039a5ae6accc86adb3228ef25c7bb4c57b3a75fbf3"}', '{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.6666666666666666, "balanced_accuracy": 0.6666666666666666, "f1": 0.75, "roc_auc": 0.6666666666666666, "average_precision": 0.7555555555555555, "log_loss": 0.6853016993597815, "brier": 0.24609660036657754, "expected_calibration_error": 0.14278533664925808}, "confusion_matrix": [[1, 2], [0, 3]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 1.0, "recall": 0.3333333333333333, "f1": 0.5, "roc_auc": 0.6666666666666666, "average_precision": 0.7555555555555555}, {"class": "rose", "num_rows": 3, "precision": 0.6, "recall": 1.0, "f1": 0.75, "roc_auc": 0.6666666666666666, "average_precision": 0.7555555555555555}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 6, "mean_confidence": 0.5238813300174086, "accuracy": 0.6666666666666666}]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "balanced_accuracy": 0.3333333333333333, "f1": 0.0, "roc_auc": 0.6666666666666666, "average_precision": 0.6388888888888888, "log_loss": 0.7054376707016007, "brier": 0.25609778898508434, "expected_calibration_error": 0.18862892707225912}, "confusion_matrix": [[2, 1], [3, 0]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 0.4, "recall": 0.6666666666666666, "f1": 0.5, "roc_auc": 0.6666666666666666, "average_precision": 0.8333333333333334}, {"class": "rose", "num_rows": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": 0.6666666666666666, "average_precision": 0.6388888888888888}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 6, "mean_confidence": 0.5219622604055925, "accuracy": 0.3333333333333333}]}}', 26, 984, 'jobs/job_01m8s92kv1rcy4ng64tmxf3rca/1/model', 1796144716.948232, 'default', 1, true);
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
CREATE INDEX ix_datasets_tenant_name ON public.datasets USING btree (tenant, name, id);
CREATE INDEX ix_jobs_dataset_id ON public.jobs USING btree (dataset_id, id);
CREATE INDEX ix_jobs_state_run_after ON public.jobs USING btree (state, run_after);
CREATE INDEX ix_jobs_tenant_id ON public.jobs USING btree (tenant, id);
CREATE INDEX ix_jobs_tenant_name ON public.jobs USING btree (tenant, name, id);
CREATE INDEX ix_jobs_tenant_state ON public.jobs USING btree (tenant, state, id);
CREATE INDEX ix_model_aliases_model_id ON public.model_aliases USING btree (model_id);
CREATE INDEX ix_models_tenant_id ON public.models USING btree (tenant, id);
CREATE INDEX ix_models_tenant_name ON public.models USING btree (tenant, name, id);
CREATE UNIQUE INDEX uq_models_tenant_name_version ON public.models USING btree (tenant, name, version);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT fk_epochs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_job_id FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.model_aliases
    ADD CONSTRAINT fk_model_aliases_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);
