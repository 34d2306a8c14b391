"""What joins the caches to other libraries; each module needs the extra of its name."""
