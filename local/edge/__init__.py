"""Stands in for the CloudFront distribution of template.yaml: one address for both APIs."""
