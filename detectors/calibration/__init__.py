"""Does a score of .3 still mean that three in ten happen?"""
