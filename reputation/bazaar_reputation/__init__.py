"""The judgement of evidence: what contracts prove, and what they make of an agent. Pure."""
