"""Does the transferred model beat the from-scratch baseline on the same rows?"""
