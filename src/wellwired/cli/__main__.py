"""``python -m wellwired.cli``, for where the script is not on the path."""

from wellwired.cli import main

if __name__ == "__main__":
    main()
