"""Reserved for the judgement of evidence: history and scores come with the next release. Pure."""
