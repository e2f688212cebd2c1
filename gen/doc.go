package gen

//go:generate go run ../cmd/pcscgen -write
