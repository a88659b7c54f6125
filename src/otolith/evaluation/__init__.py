"""The evaluation protocol: folds by subject, labels per class, seeds, methods; one result row each."""
