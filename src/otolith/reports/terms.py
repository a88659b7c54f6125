"""The terms that pages explain, in a sentence or two each."""

TERMS = {
    "macro F1": "F1 of a class is the harmonic mean of two shares: how many of its windows are found, and how many of the "
    "windows with its label really are of it. Macro F1 is the mean over classes, so that a rare class counts as much as a "
    "frequent one. 1 is perfect; guessing among n equally frequent classes gives about 1/n.",
    "interval": "The 95 % interval of Student's t over groups of test subjects. A group is the subjects that one fold "
    "tests together. With fewer than 5 groups there is no interval.",
    "held-out subjects": "Subjects whose windows were used neither for pretraining nor for training.",
    "labelled windows per class": "How many labelled windows of each class a classifier was trained with; all means "
    "every labelled window of the training subjects.",
    "method": "Fine-tuned: a pretrained encoder, all of whose weights are trained with the labels. Frozen: the encoder "
    "stays as it is, and a classifier is fitted to its features. From scratch: the same network without pretraining. "
    "Random encoder, frozen: the same with random weights. Random forest, SVM and MiniRocket have no encoder.",
    "gain": "The difference in macro F1 of two methods on the same fold, seed and labelled windows, in points: 100 "
    "points are 1. It is clear if p < .05 after Holm's adjustment for the comparisons made together.",
    "confusion matrix": "Of the windows of each true class (a row), the percentage that got each label (a column).",
    "unknown": "The label of what is unlike everything that the model learnt.",
    "probability": "How sure the model is of a label. The command otolith adapt calibrates it on people left out: of all "
    "labels with .8, about 80 % are right for people like them.",
}
"""Explanation of each term."""
