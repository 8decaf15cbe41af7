"""`mesr` inside other people's pipelines: MONAI, TorchIO and plain PyTorch.

    monai     SuperResolution and SuperResolutiond, array and dictionary transforms
    torchio   SuperResolution, a spatial transform
    module    SuperResolution, a torch.nn.Module on batches of slices

Nothing is imported here, so that none of those packages is needed for another.
"""
