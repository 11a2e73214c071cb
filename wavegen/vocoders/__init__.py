"""Everything that turns a mel into a waveform, behind one contract: :class:`wavegen.vocoders.base.Vocoder`."""
