"""The built-in tuner, which proposes changes of constants without a model."""
