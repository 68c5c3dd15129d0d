"""Training, scoring and evaluation of reward models on exported files. It opens no database."""
