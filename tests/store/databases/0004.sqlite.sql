BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE api_keys (
	id VARCHAR(40) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	scopes JSON NOT NULL, 
	secret_sha256 VARCHAR(64) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	revoked_at DOUBLE, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id)
);
CREATE TABLE datasets (
	id VARCHAR(40) NOT NULL, 
	name TEXT NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	num_rows BIGINT NOT NULL, 
	columns JSON NOT NULL, 
	artifact TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, options JSON DEFAULT '{}' NOT NULL, warnings JSON DEFAULT '[]' NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, 
	CONSTRAINT pk_datasets PRIMARY KEY (id)
);
INSERT INTO "datasets" VALUES('ds_01m8r7kxpk380waqtvjzmv0r1c','flowers.csv','csv',1155,'4d72b66199ab0508b1d59a25ba15ceda1d7e9306ad8036c01f073617981f6247',60,'[{"name": "length", "type": "numeric", "stored_as": "number", "integral": false, "num_missing": 0, "num_distinct": 60, "minimum": -2.325, "maximum": 1.96, "mean": 0.07728333333333332, "standard_deviation": 0.8974051498936004, "earliest": null, "latest": null, "top_values": []}, {"name": "petals", "type": "numeric", "stored_as": "number", "integral": true, "num_missing": 0, "num_distinct": 9, "minimum": 0.0, "maximum": 8.0, "mean": 4.4, "standard_deviation": 2.665833203084294, "earliest": null, "latest": null, "top_values": [{"value": 8, "count": 13}, {"value": 3, "count": 9}, {"value": 6, "count": 8}, {"value": 5, "count": 7}, {"value": 0, "count": 6}, {"value": 1, "count": 6}, {"value": 4, "count": 6}, {"value": 2, "count": 3}, {"value": 7, "count": 2}]}, {"name": "wild", "type": "boolean", "stored_as": "boolean", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": true, "count": 32}, {"value": false, "count": 28}]}, {"name": "label", "type": "categorical", "stored_as": "text", "integral": false, "num_missing": 0, "num_distinct": 2, "minimum": null, "maximum": null, "mean": null, "standard_deviation": null, "earliest": null, "latest": null, "top_values": [{"value": "iris", "count": 32}, {"value": "rose", "count": 28}]}]','datasets/ds_01m8r7kxpk380waqtvjzmv0r1c.fc5eeac6061afdb7410c71faf4803eb2827487b11f6095749b689ce423beab6a.parquet',1.79610962914198184006e+09,'{"delimiter": ",", "quote": "\"", "encoding": "utf-8", "header": true}','[]','default');
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
INSERT INTO "epochs" VALUES('job_01m8r7kxq99q5n5cbks0509694',1,0.765210747718811,7.61852085590362548828e-01,3.33333333333333314829e-01,0.001,1.23142820275012236381e+04,1.79610963249199390408e+09);
INSERT INTO "epochs" VALUES('job_01m8r7kxq99q5n5cbks0509694',2,7.88979947566986083984e-01,7.58176505565643310546e-01,3.33333333333333314829e-01,0.001,4.14555027015721570945e+04,1.79610963249400568011e+09);
INSERT INTO "epochs" VALUES('job_01m8r7kxq99q5n5cbks0509694',3,7.88028299808502197265e-01,7.53744602203369140625e-01,3.33333333333333314829e-01,0.001,51673.2998710991,1.79610963249501132967e+09);
INSERT INTO "epochs" VALUES('job_01m8r7m47yfbw90r4qffbc3c9x',1,0.7,0.8,0.5,0.001,12345.0,1.79610963584401750565e+09);
INSERT INTO "epochs" VALUES('job_01m8r7m47yfbw90r4qffbc3c9x',2,0.35,0.4,0.5,0.001,12345.0,1.79610963584498310088e+09);
CREATE TABLE events (
	job_id VARCHAR(40) NOT NULL, 
	sequence INTEGER NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (job_id, sequence), 
	CONSTRAINT fk_events_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES('job_01m8r7kxq99q5n5cbks0509694',1,'queued','{}',1.79610962916398954388e+09);
INSERT INTO "events" VALUES('job_01m8r7kxq99q5n5cbks0509694',2,'running','{"attempt": 1}',1796109629.17099);
INSERT INTO "events" VALUES('job_01m8r7kxq99q5n5cbks0509694',3,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.765210747718811, "validation_loss": 0.7618520855903625, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 12314.282027501224}',1.79610963248700499536e+09);
INSERT INTO "events" VALUES('job_01m8r7kxq99q5n5cbks0509694',4,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.7889799475669861, "validation_loss": 0.7581765055656433, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 41455.50270157216}',1.79610963249400568011e+09);
INSERT INTO "events" VALUES('job_01m8r7kxq99q5n5cbks0509694',5,'epoch','{"attempt": 1, "epoch": 3, "train_loss": 0.7880282998085022, "validation_loss": 0.7537446022033691, "validation_score": 0.3333333333333333, "learning_rate": 0.001, "samples_per_second": 51673.2998710991}',1.79610963249501132967e+09);
INSERT INTO "events" VALUES('job_01m8r7kxq99q5n5cbks0509694',6,'succeeded','{"attempt": 1, "reason": "completed"}',1.7961096325080065727e+09);
INSERT INTO "events" VALUES('job_01m8r7m10jvrb7mpy37tcarxq0',1,'queued','{}',1.79610963253001427652e+09);
INSERT INTO "events" VALUES('job_01m8r7m10jvrb7mpy37tcarxq0',2,'running','{"attempt": 1}',1.79610963253399729734e+09);
INSERT INTO "events" VALUES('job_01m8r7m10jvrb7mpy37tcarxq0',3,'failed','{"attempt": 1, "reason": "diverged", "detail": "the loss became nan in epoch 1"}',1.79610963580201411253e+09);
INSERT INTO "events" VALUES('job_01m8r7m47ekgtxz6x3jfk1zyfy',1,'queued','{}',1.79610963582301592826e+09);
INSERT INTO "events" VALUES('job_01m8r7m47ekgtxz6x3jfk1zyfy',2,'cancelled','{"attempt": 0, "reason": "cancelled_by_user"}',1.79610963583299374575e+09);
INSERT INTO "events" VALUES('job_01m8r7m47yfbw90r4qffbc3c9x',1,'queued','{}',1.79610963583898830412e+09);
INSERT INTO "events" VALUES('job_01m8r7m47yfbw90r4qffbc3c9x',2,'running','{"attempt": 1}',1.79610963584301185609e+09);
INSERT INTO "events" VALUES('job_01m8r7m47yfbw90r4qffbc3c9x',3,'epoch','{"attempt": 1, "epoch": 1, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79610963584401750565e+09);
INSERT INTO "events" VALUES('job_01m8r7m47yfbw90r4qffbc3c9x',4,'epoch','{"attempt": 1, "epoch": 2, "train_loss": 0.35, "validation_loss": 0.4, "validation_score": 0.5, "learning_rate": 0.001, "samples_per_second": 12345.0}',1.79610963584498310088e+09);
INSERT INTO "events" VALUES('job_01m8r7m489ngdfnwrn691n8xxd',1,'queued','{}',1.79610963585001230232e+09);
CREATE TABLE idempotency_keys (
	"key" VARCHAR(255) NOT NULL, 
	request_sha256 VARCHAR(64) NOT NULL, 
	status INTEGER, 
	headers JSON, 
	body JSON, 
	created_at DOUBLE NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY ("key")
);
INSERT INTO "idempotency_keys" VALUES('6113f1f2aa4fecc3fbe1b2b7ff2909e1b1a375c83727b39f9e4f1e702b7d4cdc','308135cd32a85d445ed58a48d7d597c32b75be069c4ed48fa400a6677f926d8d',202,'{"Location": "/v1/jobs/job_01m8r7kxq99q5n5cbks0509694"}','{"id": "job_01m8r7kxq99q5n5cbks0509694", "name": "succeeded", "state": "queued", "state_reason": null, "detail": null, "dataset": "ds_01m8r7kxpk380waqtvjzmv0r1c", "model": null, "progress": {"epochs_completed": 0, "epochs": 3}, "attempt": 0, "resolved_config": {"name": "succeeded", "dataset": {"id": "ds_01m8r7kxpk380waqtvjzmv0r1c", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}, "warnings": [], "metadata": {"team": "garden"}, "created_at": "2026-12-01T07:20:29.162Z", "started_at": null, "finished_at": null}',1.79610962915900039668e+09,'default');
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
	finished_at DOUBLE, warnings JSON DEFAULT '[]' NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, traceparent VARCHAR(55), 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('job_01m8r7kxq99q5n5cbks0509694','ds_01m8r7kxpk380waqtvjzmv0r1c','{"name": "succeeded", "dataset": {"id": "ds_01m8r7kxpk380waqtvjzmv0r1c", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','succeeded','completed',NULL,1,0,NULL,NULL,1.79610962916298365593e+09,NULL,1,3,6,1.79610962916298365593e+09,1.79610962916998410229e+09,1.7961096325080065727e+09,'[]','default',NULL);
INSERT INTO "jobs" VALUES('job_01m8r7m10jvrb7mpy37tcarxq0','ds_01m8r7kxpk380waqtvjzmv0r1c','{"name": "failed", "dataset": {"id": "ds_01m8r7kxpk380waqtvjzmv0r1c", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 1e+30, "momentum": 0.0, "nesterov": false, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','failed','diverged','the loss became nan in epoch 1',1,0,NULL,NULL,1.79610963253001427652e+09,NULL,1,0,3,1.79610963253001427652e+09,1.79610963253299140925e+09,1.79610963580201411253e+09,'[]','default',NULL);
INSERT INTO "jobs" VALUES('job_01m8r7m47ekgtxz6x3jfk1zyfy','ds_01m8r7kxpk380waqtvjzmv0r1c','{"name": "cancelled", "dataset": {"id": "ds_01m8r7kxpk380waqtvjzmv0r1c", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','cancelled','cancelled_by_user',NULL,0,0,NULL,NULL,1.79610963582301592826e+09,NULL,NULL,0,2,1.79610963582301592826e+09,NULL,1.79610963583299374575e+09,'[]','default',NULL);
INSERT INTO "jobs" VALUES('job_01m8r7m47yfbw90r4qffbc3c9x','ds_01m8r7kxpk380waqtvjzmv0r1c','{"name": "running", "dataset": {"id": "ds_01m8r7kxpk380waqtvjzmv0r1c", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','running',NULL,NULL,1,0,'worker-1',1.79610963684200596805e+09,1.79610963583898830412e+09,NULL,1,2,4,1.79610963583898830412e+09,1.79610963584200596801e+09,NULL,'[]','default',NULL);
INSERT INTO "jobs" VALUES('job_01m8r7m489ngdfnwrn691n8xxd','ds_01m8r7kxpk380waqtvjzmv0r1c','{"name": "queued", "dataset": {"id": "ds_01m8r7kxpk380waqtvjzmv0r1c", "target": "label", "features": ["length", "petals", "wild"], "types": {"length": "numeric", "petals": "numeric", "wild": "boolean"}, "weight": null, "split": {"kind": "random", "column": null, "validation": 0.1, "test": 0.1, "folds": null, "seed": 0}}, "task": "binary", "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "training": {"epochs": 3, "batch_size": 16, "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "scheduler": null, "early_stopping": null, "class_weights": null, "label_smoothing": 0.0, "max_grad_norm": null, "ema_decay": null, "precision": "float32", "max_runtime_seconds": null, "seed": 7, "device": "auto"}, "metadata": {"team": "garden"}}','cpu','queued',NULL,NULL,0,0,NULL,NULL,1.79610963585001230232e+09,NULL,NULL,0,1,1.79610963585001230232e+09,NULL,NULL,'[]','default',NULL);
CREATE TABLE model_aliases (
	tenant VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	alias VARCHAR(64) NOT NULL, 
	model_id VARCHAR(40) NOT NULL, 
	CONSTRAINT pk_model_aliases PRIMARY KEY (tenant, name, alias), 
	CONSTRAINT fk_model_aliases_model_id FOREIGN KEY(model_id) REFERENCES models (id)
);
CREATE TABLE model_names (
	tenant VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	last_version INTEGER NOT NULL, 
	CONSTRAINT pk_model_names PRIMARY KEY (tenant, name)
);
INSERT INTO "model_names" VALUES('default','succeeded',1);
CREATE TABLE models (
	id VARCHAR(40) NOT NULL, 
	job_id VARCHAR(40) NOT NULL, 
	name TEXT, 
	manifest JSON NOT NULL, 
	metrics JSON NOT NULL, 
	num_parameters BIGINT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	artifact TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, tenant VARCHAR(64) DEFAULT 'default' NOT NULL, version INTEGER, served BOOLEAN DEFAULT 1 NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT uq_models_job_id UNIQUE (job_id)
);
INSERT INTO "models" VALUES('mdl_01m8r7m0zxkbkd0xz3gsmswe4p','job_01m8r7kxq99q5n5cbks0509694','succeeded','{"format_version": 2, "task": "binary", "model": {"hidden": [4], "activation": "relu", "maxout_pieces": 2, "input_dropout": {"kind": "bernoulli", "p": 0.0, "scaling": "inverted"}, "hidden_dropout": [{"kind": "bernoulli", "p": 0.25, "scaling": "inverted"}], "batch_norm": false, "max_norm": null, "init": "xavier_uniform"}, "preprocessing": {"scale": "standard", "impute": "median", "max_one_hot": 16, "max_categories": 10000, "embedding_dim": null, "embedding_dropout": 0.0, "unknown_rate": 0.01, "text_buckets": 128}, "encoder": {"features": [{"type": "numeric", "name": "length", "may_be_missing": false}, {"type": "numeric", "name": "petals", "may_be_missing": false}, {"type": "boolean", "name": "wild", "may_be_missing": false}], "columns": ["length", "petals", "wild"]}, "targets": ["label"], "classes": ["iris", "rose"], "trained_on": "cpu/avx512/torch-2.13.0+cpu/threads-1", "weights_sha256": "ae0f43d257b37742e075ae7fe246920ed2ec1e251a1bf6fe75de83f5bc960d4b"}','{"validation": {"num_rows": 6, "metrics": {"accuracy": 0.3333333333333333, "balanced_accuracy": 0.375, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45, "log_loss": 0.7537446022564902, "brier": 0.27978681477921363, "expected_calibration_error": 0.23112477801898543}, "confusion_matrix": [[1, 3], [1, 1]], "per_class": [{"class": "iris", "num_rows": 4, "precision": 0.5, "recall": 0.25, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.7708333333333333}, {"class": "rose", "num_rows": 2, "precision": 0.25, "recall": 0.5, "f1": 0.3333333333333333, "roc_auc": 0.5, "average_precision": 0.45}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5536314768379994, "accuracy": 0.4}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6185912839239157, "accuracy": 0.0}]}, "test": {"num_rows": 6, "metrics": {"accuracy": 0.16666666666666666, "balanced_accuracy": 0.16666666666666666, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444, "log_loss": 0.797334023841649, "brier": 0.3010714847896288, "expected_calibration_error": 0.3911242533743942}, "confusion_matrix": [[1, 2], [3, 0]], "per_class": [{"class": "iris", "num_rows": 3, "precision": 0.25, "recall": 0.3333333333333333, "f1": 0.2857142857142857, "roc_auc": 0.2222222222222222, "average_precision": 0.4666666666666666}, {"class": "rose", "num_rows": 3, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": 0.2222222222222222, "average_precision": 0.4444444444444444}], "per_target": null, "reliability": [{"lower": 0.5, "upper": 0.6, "num_rows": 5, "mean_confidence": 0.5413810716344108, "accuracy": 0.2}, {"lower": 0.6, "upper": 0.7, "num_rows": 1, "mean_confidence": 0.6398401620743114, "accuracy": 0.0}]}}',26,984,'jobs/job_01m8r7kxq99q5n5cbks0509694/1/model',1.79610963251001834873e+09,'default',1,1);
CREATE TABLE request_rates (
	tenant VARCHAR(64) NOT NULL, 
	full_at DOUBLE NOT NULL, 
	CONSTRAINT pk_request_rates PRIMARY KEY (tenant)
);
CREATE INDEX ix_jobs_state_run_after ON jobs (state, run_after);
CREATE INDEX ix_jobs_dataset_id ON jobs (dataset_id);
CREATE INDEX ix_datasets_tenant_id ON datasets (tenant, id);
CREATE INDEX ix_jobs_tenant_id ON jobs (tenant, id);
CREATE INDEX ix_models_tenant_id ON models (tenant, id);
CREATE INDEX ix_jobs_tenant_state ON jobs (tenant, state);
CREATE INDEX ix_model_aliases_model_id ON model_aliases (model_id);
CREATE UNIQUE INDEX uq_models_tenant_name_version ON models (tenant, name, version);
COMMIT;
