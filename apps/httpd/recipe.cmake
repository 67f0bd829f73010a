# A static HTTP server of our own: put the files into root/srv and build.
oblako_app(NAME httpd
  SOURCES httpd.c
  ROOT root
  ARGS "httpd"
  PORT 80 PROBE http MEMORY 32)
