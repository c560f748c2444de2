"""How gunicorn runs the shop: forked workers, each with a few threads; with or without `preload_app`."""

wsgi_app = "shop.wsgi"
bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"
threads = 4
graceful_timeout = 10
