module tokend/tests/interop/agreement/age

go 1.24.0

require (
	filippo.io/age v1.3.1
	filippo.io/hpke v0.4.0
)

require (
	filippo.io/nistec v0.0.4 // indirect
	golang.org/x/crypto v0.45.0 // indirect
	golang.org/x/sys v0.38.0 // indirect
	golang.org/x/term v0.37.0 // indirect
)
