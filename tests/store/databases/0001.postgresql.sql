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
    created_at double precision NOT NULL
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
    finished_at double precision
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
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.datasets VALUES ('ds_01m7zddgm7yttskkjvxma82pb2', 'flowers.csv', 'csv', 1155, '4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247', 60, '[{"name": "length", "type": "numeric", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332}, {"name": "petals", "type": "numeric", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4}, {"name": "wild", "type": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null}, {"name": "label", "type": "categorical", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null}]', 'datasets/ds_01m7zddgm7yttskkjvxma82pb2.parquet', 1795276849.804688);
INSERT INTO public.epochs VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 1, 0.8472912907600403, 0.8427816033363342, 0.3333333333333333, 0.001, 11214.29299930812, 1795276852.860304);
INSERT INTO public.epochs VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 2, 0.8990457057952881, 0.8368404507637024, 0.3333333333333333, 0.001, 50869.119962859535, 1795276852.870711);
INSERT INTO public.epochs VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 3, 0.8951805233955383, 0.8298227190971375, 0.3333333333333333, 0.001, 58400.76793458701, 1795276852.872913);
INSERT INTO public.epochs VALUES ('job_01m7zddpth2jhs15zvr7e0dgeh', 1, 0.7, 0.8, 0.5, 0.001, 12345, 1795276856.151962);
INSERT INTO public.epochs VALUES ('job_01m7zddpth2jhs15zvr7e0dgeh', 2, 0.35, 0.4, 0.5, 0.001, 12345, 1795276856.153264);
INSERT INTO public.events VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 1, 'queued', '{}', 1795276849.823192);
INSERT INTO public.events VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 2, 'running', '{"attempt": 1}', 1795276849.838436);
INSERT INTO public.events VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.8472912907600403, "validation_loss": 0.8427816033363342, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 11214.29299930812}', 1795276852.85921);
INSERT INTO public.events VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.8990457057952881, "validation_loss": 0.8368404507637024, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 50869.119962859535}', 1795276852.8703);
INSERT INTO public.events VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 5, 'epoch', '{"attempt": 1, "epoch": 3, "train_loss": 0.8951805233955383, "validation_loss": 0.8298227190971375, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 58400.76793458701}', 1795276852.872085);
INSERT INTO public.events VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 6, 'succeeded', '{"attempt": 1, "reason": "completed"}', 1795276852.888516);
INSERT INTO public.events VALUES ('job_01m7zddknkyz17yxg6gngxtcqd', 1, 'queued', '{}', 1795276852.916356);
INSERT INTO public.events VALUES ('job_01m7zddknkyz17yxg6gngxtcqd', 2, 'running', '{"attempt": 1}', 1795276852.91959);
INSERT INTO public.events VALUES ('job_01m7zddknkyz17yxg6gngxtcqd', 3, 'failed', '{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}', 1795276856.099498);
INSERT INTO public.events VALUES ('job_01m7zddpt7vkds7syr8ryrv73p', 1, 'queued', '{}', 1795276856.137103);
INSERT INTO public.events VALUES ('job_01m7zddpt7vkds7syr8ryrv73p', 2, 'cancelled', '{"attempt": 0, "reason": "cancelled_by_user"}', 1795276856.141518);
INSERT INTO public.events VALUES ('job_01m7zddpth2jhs15zvr7e0dgeh', 1, 'queued', '{}', 1795276856.146533);
INSERT INTO public.events VALUES ('job_01m7zddpth2jhs15zvr7e0dgeh', 2, 'running', '{"attempt": 1}', 1795276856.150533);
INSERT INTO public.events VALUES ('job_01m7zddpth2jhs15zvr7e0dgeh', 3, 'epoch', '{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1795276856.151535);
INSERT INTO public.events VALUES ('job_01m7zddpth2jhs15zvr7e0dgeh', 4, 'epoch', '{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}', 1795276856.152955);
INSERT INTO public.events VALUES ('job_01m7zddptw0wtgyv3nekwnm6mp', 1, 'queued', '{}', 1795276856.157616);
INSERT INTO public.idempotency_keys VALUES ('e27193d5d3237c863decaf154433c3372c07573dbcc47017ae6d0cba30de3b0d', '651b9c0e489a60d09db99b1fd572ea09a97bc349b2f2471bcc52ceb82e334f91', 202, '{"Location": "/v1/jobs/job_01m7zddgmw4czqbv689gp8q76c"}', '{"id": "job_01m7zddgmw4czqbv689gp8q76c", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m7zddgm7yttskkjvxma82pb2", "model": null, "progress": {"epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "dataset": {"id": "ds_01m7zddgm7yttskkjvxma82pb2", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "metadata": {"team": "garden"}, "created_at": "2026-11-21T16:00:49.821Z", "started_at": null, "finished_at": null}', 1795276849.818429);
INSERT INTO public.jobs VALUES ('job_01m7zddknkyz17yxg6gngxtcqd', 'ds_01m7zddgm7yttskkjvxma82pb2', '{"name": "failed", "dataset": {"id": "ds_01m7zddgm7yttskkjvxma82pb2", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'failed', 'diverged', 'the loss became nan in epoch 1', 1, 0, NULL, NULL, 1795276852.915834, NULL, 1, 0, 3, 1795276852.915842, 1795276852.918985, 1795276856.098882);
INSERT INTO public.jobs VALUES ('job_01m7zddgmw4czqbv689gp8q76c', 'ds_01m7zddgm7yttskkjvxma82pb2', '{"name": "succeeded", "dataset": {"id": "ds_01m7zddgm7yttskkjvxma82pb2", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'succeeded', 'completed', NULL, 1, 0, NULL, NULL, 1795276849.821795, NULL, 1, 3, 6, 1795276849.821799, 1795276849.837168, 1795276852.887707);
INSERT INTO public.jobs VALUES ('job_01m7zddpt7vkds7syr8ryrv73p', 'ds_01m7zddgm7yttskkjvxma82pb2', '{"name": "cancelled", "dataset": {"id": "ds_01m7zddgm7yttskkjvxma82pb2", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'cancelled', 'cancelled_by_user', NULL, 0, 0, NULL, NULL, 1795276856.136453, NULL, NULL, 0, 2, 1795276856.136461, NULL, 1795276856.140965);
INSERT INTO public.jobs VALUES ('job_01m7zddpth2jhs15zvr7e0dgeh', 'ds_01m7zddgm7yttskkjvxma82pb2', '{"name": "running", "dataset": {"id": "ds_01m7zddgm7yttskkjvxma82pb2", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'running', NULL, NULL, 1, 0, 'worker-1', 1795276857.150034, 1795276856.146071, NULL, 1, 2, 4, 1795276856.146077, 1795276856.150035, NULL);
INSERT INTO public.jobs VALUES ('job_01m7zddptw0wtgyv3nekwnm6mp', 'ds_01m7zddgm7yttskkjvxma82pb2', '{"name": "queued", "dataset": {"id": "ds_01m7zddgm7yttskkjvxma82pb2", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}', 'cpu', 'queued', NULL, NULL, 0, 0, NULL, NULL, 1795276856.156593, NULL, NULL, 0, 1, 1795276856.156597, NULL, NULL);
INSERT INTO public.models VALUES ('mdl_01m7zddkmsd1anjpnjkjqzfpeq', 'job_01m7zddgmw4czqbv689gp8q76c', 'succeeded', '{"format_version": 1, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "target": "label", "features": ["length", "petals", "wild"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "129619992967749ca372d6f6349247df4c9c6778fc14dcb99f116795adbafc35"}', '{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "log_loss": 0.8298227237437604}, "confusion_matrix": [[1, 3], [1, 1]]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.16666666666666666, "log_loss": 0.9113392962063954}, "confusion_matrix": [[1, 2], [3, 0]]}}', 26, 768, 'jobs/job_01m7zddgmw4czqbv689gp8q76c/1/model', 1795276852.891067);
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
