a
