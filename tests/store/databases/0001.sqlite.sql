BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE datasets (
	id VARCHAR(40) NOT NULL, 
	name TEXT NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	num_rows BIGINT NOT NULL, 
	columns JSON NOT NULL, 
	artifact TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_datasets PRIMARY KEY (id)
);
INSERT INTO "datasets" VALUES('ds_01m7zdd8sepms0972m7vr930g6','flowers.csv','csv',1155,'4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247',60,'[{"name": "length", "type": "numeric", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332}, {"name": "petals", "type": "numeric", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4}, {"name": "wild", "type": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null}, {"name": "label", "type": "categorical", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null}]','datasets/ds_01m7zdd8sepms0972m7vr930g6.parquet',1.79527684179199481006e+09);
CREATE TABLE epochs (
	job_id VARCHAR(40) NOT NULL, 
	epoch INTEGER NOT NULL, 
	train_loss DOUBLE NOT NULL, 
	validation_loss DOUBLE, 
	validation_score DOUBLE, 
	learning_rate DOUBLE NOT NULL, 
	samples_per_second DOUBLE NOT NULL, 
	recorded_at DOUBLE NOT NULL, 
	CONSTRAINT pk_epochs PRIMARY KEY (job_id, epoch), 
	CONSTRAINT fk_epochs_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "epochs" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',1,8.47291290760040283203e-01,8.42781603336334228515e-01,3.33333333333333314829e-01,0.001,1.28982537471318410094e+04,1.79527684509199714655e+09);
INSERT INTO "epochs" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',2,8.99045705795288085937e-01,8.36840450763702392578e-01,3.33333333333333314829e-01,0.001,3.7386002045990651822e+04,1.7952768450969860554e+09);
INSERT INTO "epochs" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',3,8.95180523395538330078e-01,8.29822719097137451171e-01,3.33333333333333314829e-01,0.001,5.92607222385091881753e+04,1.79527684509799194336e+09);
INSERT INTO "epochs" VALUES('job_01m7zddfhxm6caycv8g7m5qk9m',1,0.7,0.8,0.5,0.001,12345.0,1.79527684871000194552e+09);
INSERT INTO "epochs" VALUES('job_01m7zddfhxm6caycv8g7m5qk9m',2,0.35,0.4,0.5,0.001,12345.0,1.79527684871100783351e+09);
CREATE TABLE events (
	job_id VARCHAR(40) NOT NULL, 
	sequence INTEGER NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (job_id, sequence), 
	CONSTRAINT fk_events_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',1,'queued','{}',1.79527684181798553465e+09);
INSERT INTO "events" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',2,'running','{"attempt": 1}',1.79527684183098077772e+09);
INSERT INTO "events" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',3,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.8472912907600403, "validation_loss": 0.8427816033363342, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 12898.253747131841}',1.79527684508901977543e+09);
INSERT INTO "events" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',4,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.8990457057952881, "validation_loss": 0.8368404507637024, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 37386.00204599065}',1.7952768450969860554e+09);
INSERT INTO "events" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',5,'epoch','{"attempt": 1, "epoch": 3, "train_loss": 0.8951805233955383, "validation_loss": 0.8298227190971375, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 59260.72223850919}',1.79527684509799194336e+09);
INSERT INTO "events" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz',6,'succeeded','{"attempt": 1, "reason": "completed"}',1.79527684513400053976e+09);
INSERT INTO "events" VALUES('job_01m7zddc42f4tkafnagswm1hx5',1,'queued','{}',1.79527684518698740006e+09);
INSERT INTO "events" VALUES('job_01m7zddc42f4tkafnagswm1hx5',2,'running','{"attempt": 1}',1.79527684519398808482e+09);
INSERT INTO "events" VALUES('job_01m7zddc42f4tkafnagswm1hx5',3,'failed','{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}',1.79527684864699697492e+09);
INSERT INTO "events" VALUES('job_01m7zddfhajyc786rftbkq5fvk',1,'queued','{}',1.79527684868300557133e+09);
INSERT INTO "events" VALUES('job_01m7zddfhajyc786rftbkq5fvk',2,'cancelled','{"attempt": 0, "reason": "cancelled_by_user"}',1.79527684869600081445e+09);
INSERT INTO "events" VALUES('job_01m7zddfhxm6caycv8g7m5qk9m',1,'queued','{}',1.79527684870098972313e+09);
INSERT INTO "events" VALUES('job_01m7zddfhxm6caycv8g7m5qk9m',2,'running','{"attempt": 1}',1.79527684870899629588e+09);
INSERT INTO "events" VALUES('job_01m7zddfhxm6caycv8g7m5qk9m',3,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79527684871000194552e+09);
INSERT INTO "events" VALUES('job_01m7zddfhxm6caycv8g7m5qk9m',4,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79527684871000194552e+09);
INSERT INTO "events" VALUES('job_01m7zddfjatv3zha1ktvk7bt1g',1,'queued','{}',1.79527684871398496629e+09);
CREATE TABLE idempotency_keys (
	"key" VARCHAR(255) NOT NULL, 
	request_sha256 VARCHAR(64) NOT NULL, 
	status INTEGER, 
	headers JSON, 
	body JSON, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY ("key")
);
INSERT INTO "idempotency_keys" VALUES('e27193d5d3237c863decaf154433c3372c07573dbcc47017ae6d0cba30de3b0d','5b611a610a26779f52f7987b0ada6cf2c27640faa89ec6139a3d90ae2cd7140b',202,'{"Location": "/v1/jobs/job_01m7zdd8tratxtmfxbm1kgpdbz"}','{"id": "job_01m7zdd8tratxtmfxbm1kgpdbz", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m7zdd8sepms0972m7vr930g6", "model": null, "progress": {"epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "dataset": {"id": "ds_01m7zdd8sepms0972m7vr930g6", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "metadata": {"team": "garden"}, "created_at": "2026-11-21T16:00:41.817Z", "started_at": null, "finished_at": null}',1.79527684181400251388e+09);
CREATE TABLE jobs (
	id VARCHAR(40) NOT NULL, 
	dataset_id VARCHAR(40) NOT NULL, 
	spec JSON NOT NULL, 
	queue VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	state_reason VARCHAR(32), 
	detail TEXT, 
	attempt INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	owner TEXT, 
	lease_expires_at DOUBLE, 
	run_after DOUBLE NOT NULL, 
	dispatched_at DOUBLE, 
	num_threads INTEGER, 
	epochs_completed INTEGER NOT NULL, 
	num_events INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('job_01m7zdd8tratxtmfxbm1kgpdbz','ds_01m7zdd8sepms0972m7vr930g6','{"name": "succeeded", "dataset": {"id": "ds_01m7zdd8sepms0972m7vr930g6", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','succeeded','completed',NULL,1,0,NULL,NULL,1.79527684181798553465e+09,NULL,1,3,6,1.79527684181798553465e+09,1.7952768418300151825e+09,1.79527684513400053976e+09);
INSERT INTO "jobs" VALUES('job_01m7zddc42f4tkafnagswm1hx5','ds_01m7zdd8sepms0972m7vr930g6','{"name": "failed", "dataset": {"id": "ds_01m7zdd8sepms0972m7vr930g6", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','failed','diverged','the loss became nan in epoch 1',1,0,NULL,NULL,1.79527684518698740006e+09,NULL,1,0,3,1.79527684518698740006e+09,1.79527684519298219674e+09,1.79527684864599108697e+09);
INSERT INTO "jobs" VALUES('job_01m7zddfhajyc786rftbkq5fvk','ds_01m7zdd8sepms0972m7vr930g6','{"name": "cancelled", "dataset": {"id": "ds_01m7zdd8sepms0972m7vr930g6", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','cancelled','cancelled_by_user',NULL,0,0,NULL,NULL,1.79527684868300557133e+09,NULL,NULL,0,2,1.79527684868300557133e+09,NULL,1.79527684869600081445e+09);
INSERT INTO "jobs" VALUES('job_01m7zddfhxm6caycv8g7m5qk9m','ds_01m7zdd8sepms0972m7vr930g6','{"name": "running", "dataset": {"id": "ds_01m7zdd8sepms0972m7vr930g6", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','running',NULL,NULL,1,0,'worker-1',1.79527684970899629587e+09,1.79527684870098972313e+09,NULL,1,2,4,1.79527684870098972313e+09,1.79527684870899629588e+09,NULL);
INSERT INTO "jobs" VALUES('job_01m7zddfjatv3zha1ktvk7bt1g','ds_01m7zdd8sepms0972m7vr930g6','{"name": "queued", "dataset": {"id": "ds_01m7zdd8sepms0972m7vr930g6", "target": "label", "features": ["length", "petals", "wild"], "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','queued',NULL,NULL,0,0,NULL,NULL,1.79527684871398496629e+09,NULL,NULL,0,1,1.79527684871398496629e+09,NULL,NULL);
CREATE TABLE models (
	id VARCHAR(40) NOT NULL, 
	job_id VARCHAR(40) NOT NULL, 
	name TEXT, 
	manifest JSON NOT NULL, 
	metrics JSON NOT NULL, 
	num_parameters BIGINT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	artifact TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT uq_models_job_id UNIQUE (job_id)
);
INSERT INTO "models" VALUES('mdl_01m7zddc2e3rxhrkwh6jt13j6d','job_01m7zdd8tratxtmfxbm1kgpdbz','succeeded','{"format_version": 1, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "kaiming_uniform"}, "target": "label", "features": ["length", "petals", "wild"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "129619992967749ca372d6f6349247df4c9c6778fc14dcb99f116795adbafc35"}','{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "log_loss": 0.8298227237437604}, "confusion_matrix": [[1, 3], [1, 1]]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.16666666666666666, "log_loss": 0.9113392962063954}, "confusion_matrix": [[1, 2], [3, 0]]}}',26,768,'jobs/job_01m7zdd8tratxtmfxbm1kgpdbz/1/model',1.79527684513500642772e+09);
CREATE INDEX ix_jobs_state_run_after ON jobs (state, run_after);
CREATE INDEX ix_jobs_dataset_id ON jobs (dataset_id);
COMMIT;
