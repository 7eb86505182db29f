"""Word count, the mapper: a line in, pairs of a word and 1 out."""


def mapper(line):
    for word in line.lower().split():
        yield word.strip(".,;:!?"), 1
