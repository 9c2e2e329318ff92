"""The contract's checks that a method declares what it sees and needs."""

from dataclasses import replace

from .contract_fixture import MethodUnderTest, context, differing, require


def check_access(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where the terms of a method for the source alone depend on target images."""
    require(subject.cls.access in ("ssdg", "uda"), f"access must be 'ssdg' or 'uda', not {subject.cls.access!r}")
    if subject.cls.access == "uda":
        return
    batches = subject.batch(), subject.batch(targets=True)
    terms, shown = (subject.method().training_step(batch, context(batch)) for batch in batches)
    seen = differing(terms, shown)
    require(not seen, "access is 'ssdg', but the terms depend on target images: declare access = 'uda'")


def check_labels(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where images follow their labels and the class does not say so."""
    require(
        "labels" in subject.cls.needs or not views_follow_labels(subject),
        "training images depend on labels: declare needs = frozenset({'labels'})",
    )


def views_follow_labels(subject: MethodUnderTest) -> bool:
    """Return whether other labels give the network other images in any of three steps."""
    batch = subject.batch()
    relabelled = replace(batch, label=batch.label.flip(-1))
    views = (
        [{"image": subject.method().example(each, context(each, step).rng)} for each in (batch, relabelled)]
        for step in range(3)
    )
    return any(differing(*pair) for pair in views)
