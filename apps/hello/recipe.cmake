oblako_app(NAME hello SOURCES hello.c MEMORY 16)
