module shoprank.test/pause

go 1.26.0
