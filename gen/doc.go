package gen

//go:generate go tool pcscgen -write
