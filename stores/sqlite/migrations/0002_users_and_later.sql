-- What users want: their push rules, and how many notifications they have not read.
CREATE TABLE rules (
    app TEXT NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (app, user)
) WITHOUT ROWID;
CREATE TABLE counters (
    app TEXT NOT NULL, user TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (app, user)
) WITHOUT ROWID;
