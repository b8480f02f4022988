"""What most people would build: the same movies from the same rows with Django REST framework and gunicorn.

It is there to be measured against. It must stay fair: everything that makes such an application slow by mistake (N+1 queries,
DEBUG, middleware that nobody needs, serializers that work their fields out for each request, a connection opened for each
request) is left out, and it writes no access log.

Served by one gunicorn process with a gthread worker of 2 threads, the fastest of what was tried. Medians of three rounds, in
requests/s: sync 256, gthread with 1 thread 303, with 2 threads 307, with 8 threads 288. A sync worker closes each connection.
"""
