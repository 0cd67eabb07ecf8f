module example.org/corpca

go 1.26.0

require chancery v0.0.0

replace chancery => ../../..
