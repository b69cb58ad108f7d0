# Writes OUTPUT, a C file that holds the text of INPUT as a string: the interface is served from the same file that people read.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n\t" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"tokend/frontend/interface_text.h\"\n\nconst char interface_text[] = {\n\t${bytes} 0x00\n};\n")
