"""Which training rows have shaped an answer: a row counts by how well its gradient agrees with the answer's.

origin finds what was trained, traced_model opens it, gradients takes rows apart, sketch and store keep them for the
next question, ranking compares. TracIn (arXiv:2002.08484) with the final weights alone: a training that has ended keeps
no others. No stage imports this folder, so an edit here retrains nothing.
"""
