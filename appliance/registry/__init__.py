"""The release: model, report card and provenance under one version and one digest; and the registry that keeps them."""
