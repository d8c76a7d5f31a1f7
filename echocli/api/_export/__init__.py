"""What ``export`` makes: videos, sheets, and a record of them."""
