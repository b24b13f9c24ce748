"""The sandbox's image without docker: its Dockerfile's steps run in a Debian chroot."""
