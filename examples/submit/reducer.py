"""Word count, the reducer: a word and all its ones in, their sum out."""


def reducer(word, ones):
    return sum(ones)
