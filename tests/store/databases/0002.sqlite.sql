BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE datasets (
	id VARCHAR(40) NOT NULL, 
	name TEXT NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	num_rows BIGINT NOT NULL, 
	columns JSON NOT NULL, 
	artifact TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, options JSON DEFAULT '{}' NOT NULL, warnings JSON DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_datasets PRIMARY KEY (id)
);
INSERT INTO "datasets" VALUES('ds_01m7zddc39twe8z6tzvve4r14e','flowers.csv','csv',1155,'4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247',60,'[{"name": "length", "type": "numeric", "stored_as": "number", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332, "standard_deviation": 0.8974051498936004, "earliest": null, "latest": null, "top_values": []}, {"name": "petals", "type": "numeric", "stored_as": "number", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4, "standard_deviation": 2.665833203084294, "earliest": null, "latest": null, "top_values": [{"value": 8, "count": 13}, {"value": 3, "count": 9}, {"value": 6, "count": 8}, {"value": 5, "count": 7}, {"value": 0, "count": 6}, {"value": 1, "count": 6}, {"value": 4, "count": 6}, {"value": 2, "count": 3}, {"value": 7, "count": 2}]}, {"name": "wild", "type": "boolean", "stored_as": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": true, "count": 32}, {"value": false, "count": 28}]}, {"name": "label", "type": "categorical", "stored_as": "text", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": "iris", "count": 32}, {"value": "rose", "count": 28}]}]','datasets/ds_01m7zddc39twe8z6tzvve4r14e.parquet',1795276845.16498,'{"delimiter": ",", "quote": "\"", "encoding": "utf-8", "header": true}','[]');
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
INSERT INTO "epochs" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',1,0.765210747718811,7.61852085590362548828e-01,3.33333333333333314829e-01,0.001,1.32611228439535861975e+04,1.79527684858898067474e+09);
INSERT INTO "epochs" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',2,7.88979947566986083984e-01,7.58176505565643310546e-01,3.33333333333333314829e-01,0.001,4.4950049362808618754e+04,1.79527684859501576427e+09);
INSERT INTO "epochs" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',3,7.88028319676717159403e-01,7.53744602203369140625e-01,3.33333333333333314829e-01,0.001,5.19244496673068715603e+04,1.79527684859598135949e+09);
INSERT INTO "epochs" VALUES('job_01m7zddjexcwv58nankhtbpdt5',1,0.7,0.8,0.5,0.001,12345.0,1.79527685168298935889e+09);
INSERT INTO "epochs" VALUES('job_01m7zddjexcwv58nankhtbpdt5',2,0.35,0.4,0.5,0.001,12345.0,1.79527685168399524684e+09);
CREATE TABLE events (
	job_id VARCHAR(40) NOT NULL, 
	sequence INTEGER NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (job_id, sequence), 
	CONSTRAINT fk_events_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',1,'queued','{}',1.79527684520501184467e+09);
INSERT INTO "events" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',2,'running','{"attempt": 1}',1.79527684521100664143e+09);
INSERT INTO "events" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',3,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.765210747718811, "validation_loss": 0.7618520855903625, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 13261.122843953586}',1.79527684858801507951e+09);
INSERT INTO "events" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',4,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.7889799475669861, "validation_loss": 0.7581765055656433, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 44950.04936280862}',1.79527684859501576427e+09);
INSERT INTO "events" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',5,'epoch','{"attempt": 1, "epoch": 3, "train_loss": 0.7880283196767172, "validation_loss": 0.7537446022033691, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 51924.44966730687}',1.79527684859598135949e+09);
INSERT INTO "events" VALUES('job_01m7zddc4bz3v1kdevshfrgn90',6,'succeeded','{"attempt": 1, "reason": "completed"}',1.79527684861601734157e+09);
INSERT INTO "events" VALUES('job_01m7zddfgg4dg5cq6ksvm1y7s5',1,'queued','{}',1.79527684865701484678e+09);
INSERT INTO "events" VALUES('job_01m7zddfgg4dg5cq6ksvm1y7s5',2,'running','{"attempt": 1}',1.79527684866099810604e+09);
INSERT INTO "events" VALUES('job_01m7zddfgg4dg5cq6ksvm1y7s5',3,'failed','{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}',1.79527685163499116892e+09);
INSERT INTO "events" VALUES('job_01m7zddjekm5jhv0zwfj1cbnkb',1,'queued','{}',1.79527685166798233983e+09);
INSERT INTO "events" VALUES('job_01m7zddjekm5jhv0zwfj1cbnkb',2,'cancelled','{"attempt": 0, "reason": "cancelled_by_user"}',1.79527685167301154136e+09);
INSERT INTO "events" VALUES('job_01m7zddjexcwv58nankhtbpdt5',1,'queued','{}',1.79527685167900609972e+09);
INSERT INTO "events" VALUES('job_01m7zddjexcwv58nankhtbpdt5',2,'running','{"attempt": 1}',1.79527685168298935889e+09);
INSERT INTO "events" VALUES('job_01m7zddjexcwv58nankhtbpdt5',3,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79527685168298935889e+09);
INSERT INTO "events" VALUES('job_01m7zddjexcwv58nankhtbpdt5',4,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79527685168399524684e+09);
INSERT INTO "events" VALUES('job_01m7zddjf74d2j2prg8d7xz0jw',1,'queued','{}',1.79527685168701267243e+09);
CREATE TABLE idempotency_keys (
	"key" VARCHAR(255) NOT NULL, 
	request_sha256 VARCHAR(64) NOT NULL, 
	status INTEGER, 
	headers JSON, 
	body JSON, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY ("key")
);
INSERT INTO "idempotency_keys" VALUES('e27193d5d3237c863decaf154433c3372c07573dbcc47017ae6d0cba30de3b0d','00953de0b7b2f278d01780315b28605f8c1e83b98b3bede23e974f3bec881270',202,'{"Location": "/v1/jobs/job_01m7zddc4bz3v1kdevshfrgn90"}','{"id": "job_01m7zddc4bz3v1kdevshfrgn90", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m7zddc39twe8z6tzvve4r14e", "model": null, "progress": {"epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "dataset": {"id": "ds_01m7zddc39twe8z6tzvve4r14e", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "warnings": [], "metadata": {"team": "garden"}, "created_at": "2026-11-21T16:00:45.204Z", "started_at": null, "finished_at": null}',1.79527684519201660151e+09);
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
	finished_at DOUBLE, warnings JSON DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('job_01m7zddc4bz3v1kdevshfrgn90','ds_01m7zddc39twe8z6tzvve4r14e','{"name": "succeeded", "dataset": {"id": "ds_01m7zddc39twe8z6tzvve4r14e", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','succeeded','completed',NULL,1,0,NULL,NULL,1.79527684520400619512e+09,NULL,1,3,6,1.79527684520400619512e+09,1.79527684521000099179e+09,1.79527684861501169201e+09,'[]');
INSERT INTO "jobs" VALUES('job_01m7zddfgg4dg5cq6ksvm1y7s5','ds_01m7zddc39twe8z6tzvve4r14e','{"name": "failed", "dataset": {"id": "ds_01m7zddc39twe8z6tzvve4r14e", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','failed','diverged','the loss became nan in epoch 1',1,0,NULL,NULL,1.79527684865701484678e+09,NULL,1,0,3,1.79527684865701484678e+09,1.79527684866099810604e+09,1.79527685163398528092e+09,'[]');
INSERT INTO "jobs" VALUES('job_01m7zddjekm5jhv0zwfj1cbnkb','ds_01m7zddc39twe8z6tzvve4r14e','{"name": "cancelled", "dataset": {"id": "ds_01m7zddc39twe8z6tzvve4r14e", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','cancelled','cancelled_by_user',NULL,0,0,NULL,NULL,1.79527685166798233983e+09,NULL,NULL,0,2,1.79527685166798233983e+09,NULL,1.79527685167301154136e+09,'[]');
INSERT INTO "jobs" VALUES('job_01m7zddjexcwv58nankhtbpdt5','ds_01m7zddc39twe8z6tzvve4r14e','{"name": "running", "dataset": {"id": "ds_01m7zddc39twe8z6tzvve4r14e", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','running',NULL,NULL,1,0,'worker-1',1.79527685268198347089e+09,1.79527685167900609972e+09,NULL,1,2,4,1.79527685167900609972e+09,1.7952768516819834709e+09,NULL,'[]');
INSERT INTO "jobs" VALUES('job_01m7zddjf74d2j2prg8d7xz0jw','ds_01m7zddc39twe8z6tzvve4r14e','{"name": "queued", "dataset": {"id": "ds_01m7zddc39twe8z6tzvve4r14e", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','queued',NULL,NULL,0,0,NULL,NULL,1.79527685168701267243e+09,NULL,NULL,0,1,1.79527685168701267243e+09,NULL,NULL,'[]');
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
INSERT INTO "models" VALUES('mdl_01m7zddff81mh9pkgerp9qf1z9','job_01m7zddc4bz3v1kdevshfrgn90','succeeded','{"format_version": 2, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "encoder": {"features": [{"type": "numeric", "name": "length", "may_be_missing": false}, {"type": "numeric", "name": "petals", "may_be_missing": false}, {"type": "boolean", "name": "wild", "may_be_missing": false}], "columns": ["length", "petals", "wild"]}, "targets": ["label"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "a15baae06f00ebc34a968b61cc82e6c9ac52dd7b7f14de1ae7f185dced06d1e8"}','{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "balanced_accuracy": 0.375, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45, "log_loss": 0.7537446152928143, "brier": 0.2797868212012152, "expected_calibration_error": 0.23112477920660943}, "confusion_matrix": [[1, 3], [1, 1]], "per_class": [{"class": "iris", "num_rows": 4, "precision": 0.5, "recall": 0.25, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.7708333333333333}, {"class": "rose", "num_rows": 2, "precision": 0.25, "recall": 0.5, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5536314782631482, "accuracy": 0.4}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6185912839239157, "accuracy": 0.0}]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.16666666666666666, "balanced_accuracy": 0.16666666666666666, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444, "log_loss": 0.7973340360132596, "brier": 0.30107149067855116, "expected_calibration_error": 0.39112426312431753}, "confusion_matrix": [[1, 2], [3, 0]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 0.25, "recall": 0.3333333333333333, "f1": 0.2857142857142857, "roc_auc": 0.2222222222222222, "average_precision": 0.4666666666666666}, {"class": "rose", "num_rows": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5413810819607612, "accuracy": 0.2}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6398401689420995, "accuracy": 0.0}]}}',26,984,'jobs/job_01m7zddc4bz3v1kdevshfrgn90/1/model',1.79527684861698293679e+09);
CREATE INDEX ix_jobs_state_run_after ON jobs (state, run_after);
CREATE INDEX ix_jobs_dataset_id ON jobs (dataset_id);
COMMIT;
