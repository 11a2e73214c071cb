"""Models of scores: one file each, all :class:`wavegen.music.models.base.ScoreModel`."""
