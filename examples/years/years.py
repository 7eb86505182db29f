"""The lowest, the highest and the average score of each batch year, over a folder of CSV files.

    mrkernel submit --input years --map examples/years/years.py --reduce examples/years/years.py \
        --output years.csv --columns batch_year,min,max,average
"""


def mapper(student):
    yield student["batch_year"], student["score"]


def reducer(year, scores):
    yield year, (min(scores), max(scores), sum(scores) / len(scores))
